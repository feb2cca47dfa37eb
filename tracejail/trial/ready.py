"""When a target is ready for its exercises: `--ready`, or the default, that it listens and has gone quiet."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tracejail.errors import UsageError
from tracejail.kernel.namespaces import network_namespace


def check(ready: str) -> None:
    """Raises UsageError for a condition that is none."""
    kind, _, rest = ready.partition(":")
    if ready and (kind not in ("tcp", "unix", "file", "command") or not rest or (kind == "tcp" and not rest.isdigit())):
        raise UsageError(f"--ready {ready}: not a condition", "give tcp:PORT, unix:PATH, file:PATH or command:CMD")


def is_ready(ready: str, init: int, private_network: bool) -> bool:
    """Ask once, as an outsider: the trial's files by way of its first process, its network by its namespace."""
    kind, _, rest = ready.partition(":")
    root = f"/proc/{init}/root"
    import socket  # here, as most runs need no condition

    try:
        if kind == "file":
            return os.path.exists(root + os.path.normpath("/" + rest))
        if kind == "command":
            return run_quietly(rest, init, private_network)
        if kind == "unix":
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(root + os.path.normpath("/" + rest))
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


def time_run(processes: Iterable[int]) -> int | None:
    """Nanoseconds that all threads of these processes have run in all (schedstat, proc(5)); None if one of them runs or
    waits for a disk now. Two equal answers: nothing has happened in between."""
    total = 0
    for process in processes:
        try:
            threads = os.listdir(f"/proc/{process}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                stat = _read(f"/proc/{process}/task/{thread}/stat")
                if stat[stat.rindex(b")") + 2 :][:1] in (b"R", b"D"):
                    return None
                total += int(_read(f"/proc/{process}/task/{thread}/schedstat").split()[0])
            except (OSError, ValueError, IndexError):
                continue  # it has ended; or a kernel without schedstat, where the states must do
    return total


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)
