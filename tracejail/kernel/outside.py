"""A small process that stays in the first user namespace when this one leaves it, and says what only it can see.

Seen from a user namespace, each owner that has no number there is "nobody". The process is handed a descriptor of the
object and tells the true ones. It ends with the last end of its sockets.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import struct
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import socket

_OWNER, _ATTRIBUTES, _RUN, _LINE = b"o", b"x", b"r", b"l"
_IDS = struct.Struct("=II")
_LARGEST = 1 << 17      # bytes of an answer: attributes of a file are 64 KiB at most
_HIGH = 64


def owner_of(descriptor: int, status: os.stat_result) -> tuple[int, int]:
    """The true user and group of an object that is open here (O_PATH will do), whose fstat(2) is `status`."""
    line = Outside.line
    return (status.st_uid, status.st_gid) if line is None else line.owner(descriptor, status)


def attributes_of(descriptor: int) -> dict[str, bytes]:
    """Its extended attributes, as the first user namespace sees them; none where it has none or the file system can't."""
    line = Outside.line
    return _attributes(descriptor) if line is None else line.attributes(descriptor)


class Outside:
    """The line to it; `line` is the one that this process asks, where it has left."""

    line: ClassVar[Outside | None] = None

    def __init__(self) -> None:
        import socket  # here and below, as all that looks at files imports this module, and few leave the namespace

        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = os.getpid()
        self._owners: dict[tuple[int, int, int], tuple[int, int]] = {}
        between = os.fork()
        if between == 0:
            # A grandchild, so that no wait of this process ever hears of it.
            if os.fork() == 0:
                _serve(theirs)
            os._exit(0)
        os.waitpid(between, 0)
        theirs.close()

    def owner(self, descriptor: int, status: os.stat_result) -> tuple[int, int]:
        """As `owner_of`."""
        key = status.st_dev, status.st_ino, status.st_ctime_ns  # a chown(2) changes the last one
        known = self._owners.get(key)
        if known is None:
            user, group = _IDS.unpack(self._ask(_OWNER, descriptor))
            known = self._owners[key] = user, group
        return known

    def attributes(self, descriptor: int) -> dict[str, bytes]:
        """As `attributes_of`."""
        found: dict[str, bytes] = marshal.loads(self._ask(_ATTRIBUTES, descriptor))
        return found

    def run(self, words: list[str]) -> str:
        """Run a command out there; "" if it went well, else its last words."""
        line = self._own_line()
        line.send(_RUN + marshal.dumps(words))
        return line.recv(_LARGEST).strip(b"\0").decode("utf-8", "replace")

    def _ask(self, what: bytes, descriptor: int) -> bytes:
        import socket

        line = self._own_line()
        socket.send_fds(line, [what], [descriptor])
        answer = line.recv(_LARGEST)
        if not answer:
            raise OSError(5, "the process that tells true owners has ended")
        return answer

    def _own_line(self) -> socket.socket:
        """A child of this process must not take its parent's answers: it gets a line of its own."""
        if self._process != os.getpid():
            import socket

            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            socket.send_fds(self._line, [_LINE], [theirs.fileno()])
            theirs.close()
            self._line, self._process = ours, os.getpid()
        return self._line


def _serve(first: socket.socket) -> None:
    """Never returns."""
    import select
    import socket

    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        kept = os.dup2(first.detach(), _HIGH, inheritable=False)
        null = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):  # a reader of the caller's output must not wait for this process
            os.dup2(null, standard)
        os.closerange(3, _HIGH)
        os.closerange(_HIGH + 1, 1 << 16)
        lines = {kept: socket.socket(fileno=kept)}
        ready = select.poll()
        ready.register(kept, select.POLLIN)
        while lines:
            for descriptor, _ in ready.poll():
                data, given, _, _ = socket.recv_fds(lines[descriptor], 1 << 16, 1)
                if not data:
                    ready.unregister(descriptor)
                    lines.pop(descriptor).close()
                elif data == _LINE:
                    lines[given[0]] = socket.socket(fileno=given[0])
                    ready.register(given[0], select.POLLIN)
                else:
                    _reply(lines[descriptor], _answer(data, given))
                    for each in given:
                        os.close(each)
    finally:
        os._exit(0)


def _reply(line: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):  # whoever asked has ended
        line.send(answer)


def _answer(data: bytes, descriptors: list[int]) -> bytes:
    if data[:1] == _RUN:
        import subprocess

        try:
            done = subprocess.run(marshal.loads(data[1:]), capture_output=True, check=False, timeout=10)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error).encode() or b"?"
        last = done.stderr.strip().splitlines()[-1:] or [b"?"]
        return last[0][:4096] if done.returncode else b"\0"
    descriptor = descriptors[0]
    if data == _OWNER:
        status = os.fstat(descriptor)
        return _IDS.pack(status.st_uid, status.st_gid)
    return marshal.dumps(_attributes(descriptor))


def _attributes(descriptor: int) -> dict[str, bytes]:
    found = {}
    with contextlib.suppress(OSError):  # a file system without attributes
        where = f"/proc/self/fd/{descriptor}"
        for name in os.listxattr(where):
            with contextlib.suppress(OSError):
                found[name] = os.getxattr(where, name)
    return found
