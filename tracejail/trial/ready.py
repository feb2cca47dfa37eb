"""When a target is ready for its exercises: `--ready`, where it is no command. The default is in `phases`."""

from __future__ import annotations

import os
import socket

from tracejail.errors import UsageError
from tracejail.jail.tree import Tree, find
from tracejail.kernel.sockets import listening_ports

COMMAND = "command:"
_CONNECT = 0.2   # seconds; the kernel takes the connection, unless as many wait as the target lets wait


def check(ready: str) -> None:
    """Raises UsageError for a condition that is none."""
    kind, _, rest = ready.partition(":")
    if ready in ("", "notify"):
        return
    wrong = {"tcp": not rest.isdigit(), "unix": not rest.startswith("/"), "file": not rest.startswith("/"), "command": not rest}
    if wrong.get(kind, True):
        raise UsageError(f"--ready {ready}: not a condition", "give tcp:PORT, unix:PATH, file:PATH, command:CMD or notify")


def is_ready(ready: str, init: int, tree: Tree) -> bool:
    """Look once, as an outsider: at the trial's files by its tree, at its network by what the kernel says of it, so that
    the target sees no client that is none."""
    kind, _, rest = ready.partition(":")
    if kind == "tcp":
        return int(rest) in listening_ports(init)
    try:
        found = find(tree, rest)
    except OSError:
        return False
    try:
        return kind == "file" or any(
            _accepts(f"/proc/self/fd/{found}", how) for how in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
        )
    finally:
        os.close(found)


def _accepts(path: str, how: int) -> bool:
    with socket.socket(socket.AF_UNIX, how) as client:
        client.settimeout(_CONNECT)
        try:
            client.connect(path)
        except OSError:  # nobody listens there any more, or (EPROTOTYPE) it is of another kind
            return False
        return True
