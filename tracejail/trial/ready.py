"""When a target is ready for its exercises: `--ready`, or the default, that it listens and has gone quiet."""

from __future__ import annotations

import os

from tracejail.errors import UsageError
from tracejail.jail.tree import Tree, find
from tracejail.kernel.namespaces import network_namespace


def check(ready: str) -> None:
    """Raises UsageError for a condition that is none."""
    kind, _, rest = ready.partition(":")
    if ready in ("", "notify"):
        return
    if kind not in ("tcp", "unix", "file", "command") or not rest or (kind == "tcp" and not rest.isdigit()):
        raise UsageError(f"--ready {ready}: not a condition", "give tcp:PORT, unix:PATH, file:PATH, command:CMD or notify")


def is_ready(ready: str, init: int, private_network: bool, tree: Tree) -> bool:
    """Ask once, as an outsider: the trial's files by its tree, its network by its namespace."""
    kind, _, rest = ready.partition(":")
    import socket  # here, as most runs need no condition

    try:
        if kind == "file":
            os.close(find(tree, rest))
            return True
        if kind == "command":
            return run_quietly(rest, init, private_network)
        if kind == "unix":
            found = find(tree, rest)
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(1)
                    client.connect(f"/proc/self/fd/{found}")
            finally:
                os.close(found)
            return True
        with _place(init, private_network), socket.socket(socket.AF_INET) as client:
            client.settimeout(1)
            return client.connect_ex(("127.0.0.1", int(rest))) == 0
    except OSError:
        return False


def _place(init: int, private_network: bool):  # type: ignore[no-untyped-def]
    import contextlib

    return network_namespace(init) if private_network else contextlib.nullcontext()


def run_quietly(command: str, init: int, private_network: bool) -> bool:
    """Whether a shell command ends with 0 within 5 seconds, in the target's network."""
    import subprocess

    with _place(init, private_network):
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", command], capture_output=True, timeout=5, check=False, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0
