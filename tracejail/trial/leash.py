"""The process that the exercises of a run are children of. It ends all that they started once the learner is gone, whatever
ended that: the kernel tells it (PR_SET_PDEATHSIG, prctl(2)), and what they left behind was given to it (a subreaper). The
target needs no such one: the kernel ends what a tracer leaves behind."""

from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from time import monotonic, sleep

from tracejail.kernel.namespaces import enter
from tracejail.kernel.processes import adopt_orphans, children, outlive
from tracejail.kernel.waiting import Waiting

from .output import contents, output_file

_WORDS = struct.Struct("=ii")   # the number of a command, and: 1 begins it, 0 ends it; back: its status, as of wait(2)
_BEGIN, _END = 1, 0
_KILLED = int(signal.SIGKILL)   # the status of one that is lost
_NOT_STARTED = 126 << 8
_PATIENCE = 10.0                # seconds that the end of what was killed may take


class Leash:
    """Of one run; the process is made for the first command."""

    def __init__(self, init: int, private_network: bool) -> None:
        self._init, self._private = init, private_network
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ended: dict[int, Callable[[int], None]] = {}
        self._count = 0
        self.process = 0

    def sources(self) -> dict[int, Callable[[], None]]:
        """A descriptor to wait for, and what to do when it is readable."""
        return {self._ours.fileno(): self.hear}

    def prepare(self) -> None:
        """Make the process, where it is to be there before the first command."""
        if not self.process:
            self._fork()

    def begin(self, command: str, environment: dict[str, str], output: int, ended: Callable[[int], None]) -> int:
        """Start a shell command in the target's network; `ended` is told its status. Gives a number for it."""
        self.prepare()
        self._count += 1
        self._ended[self._count] = ended
        # In files, which have room for any of them: a datagram has not.
        texts = [output_file(name) for name in ("command", "environment")]
        try:
            os.write(texts[0], os.fsencode(command))
            os.write(texts[1], b"\0".join(os.fsencode(f"{name}={value}") for name, value in environment.items()))
            self._send(_BEGIN, self._count, (*texts, output))
        finally:
            for text in texts:
                os.close(text)
        return self._count

    def end(self, number: int) -> None:
        """Kill a command and its process group; `ended` has been told when this returns."""
        self._send(_END, number)
        limit = monotonic() + _PATIENCE
        poll = select.poll()
        poll.register(self._ours, select.POLLIN)
        while number in self._ended and poll.poll(max(0.0, limit - monotonic()) * 1000):
            self.hear()
        if number in self._ended:
            self._ended.pop(number)(_KILLED)

    def lost(self) -> None:
        """The process has ended: its commands are children of this one by now."""
        for number in list(self._ended):
            self._ended.pop(number)(_KILLED)

    def close(self) -> None:
        """Once the process has been ended."""
        self._ours.close()
        self._theirs.close()

    def let_end(self) -> None:
        """End the process and all that it has started, and wait for that; for one who does not wait for all children."""
        self._ours.close()
        if self.process:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.process, 0)
        else:
            self._theirs.close()

    def _send(self, what: int, number: int, descriptors: tuple[int, ...] = ()) -> None:
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._ours.sendmsg([_WORDS.pack(number, what)], control)
        except (BrokenPipeError, ConnectionResetError):
            self.lost()

    def hear(self) -> None:
        """Tell of the commands that have ended."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while word := self._ours.recv(_WORDS.size, socket.MSG_DONTWAIT):
                number, status = _WORDS.unpack(word)
                if ended := self._ended.pop(number, None):
                    ended(status)
            self.lost()

    # --- in the process itself -------------------------------------------------------------------------------

    def _fork(self) -> None:
        learner = os.getpid()
        self.process = os.fork()
        if self.process:
            self._theirs.close()
            return
        try:
            # Not in the learner's process group, which timeout(1), for one, kills as a whole; nor by the learner's name.
            os.setsid()
            outlive(learner, signal.SIGTERM, "exercises")
            adopt_orphans(True)
            kept = self._theirs.fileno()
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for standard in range(3):
                os.dup2(nowhere, standard)
            os.closerange(3, kept)
            os.closerange(kept + 1, 1 << 16)   # whatever the learner holds goes with the learner
            if self._private:
                enter(self._init, "net")
            _serve(self._theirs)
        finally:
            _end_all()
            os._exit(0)


def _serve(learner: socket.socket) -> None:
    """Start and end what the learner says, until it is gone."""
    shells: dict[int, int] = {}
    waited = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    waiting = Waiting(waited, [learner.fileno()])
    while True:
        came, readable = waiting.wait(60)
        if signal.SIGTERM in came:
            return
        if readable:
            word, descriptors, _, _ = socket.recv_fds(learner, _WORDS.size, 3, socket.MSG_CMSG_CLOEXEC)
            if not word:
                return
            number, what = _WORDS.unpack(word)
            if what == _BEGIN:
                try:
                    shells[_spawn(*descriptors)] = number
                except OSError as error:
                    os.write(descriptors[2], f"/bin/sh: {error.strerror}\n".encode())
                    learner.send(_WORDS.pack(number, _NOT_STARTED))
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                for process in (process for process, shell in shells.items() if shell == number):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process, signal.SIGKILL)
        for process, status in _reaped():
            if process in shells:
                learner.send(_WORDS.pack(shells.pop(process), status))


def _spawn(command: int, environment: int, output: int) -> int:
    return os.posix_spawn(
        "/bin/sh",
        [b"sh", b"-c", contents(command)],
        dict(pair.split(b"=", 1) for pair in contents(environment).split(b"\0")),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
    )


def _reaped() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(ended)
    return found


def _end_all() -> None:
    """All descendants: those of a child that is killed are children afterwards."""
    limit = monotonic() + _PATIENCE
    while (left := children(os.getpid())) and monotonic() < limit:
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if not _reaped():
            sleep(0.001)
