"""An exercise: a shell command of the host that drives the target, in the target's network."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from time import monotonic

from tracejail.kernel.namespaces import network_namespace
from tracejail.kernel.processes import of_sessions

from .output import contents, is_full, output_file


class Exercise:
    """One that runs. Its end is told by wait(2) to whoever waits for all children."""

    def __init__(self, command: str, init: int, private_network: bool, phase: str, target: int) -> None:
        self.command = command
        self.status: int | None = None
        self.began = monotonic()
        self.output = output_file("exercise")
        environment = {**os.environ, "TRACEJAIL_ROOT": f"/proc/{init}/root", "TRACEJAIL_PHASE": phase}
        environment |= {"TRACEJAIL_PID": str(target)} if target else {}
        with network_namespace(init) if private_network else contextlib.nullcontext():
            # Not by fork(2), which copies the page tables of all that this process holds.
            self.process = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", command],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, self.output, 1),
                    (os.POSIX_SPAWN_DUP2, self.output, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )

    def is_full(self) -> bool:
        """Whether it has said more than is kept."""
        return is_full(self.output)

    def end(self) -> bytes:
        """What it said, after its end or to make one; to be called once. What it left in the background lives on."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                self.status = os.waitpid(self.process, 0)[1]
        text = contents(self.output)
        os.close(self.output)
        return text


class Leash:
    """A process that ends the sessions which it is told of when this process dies, by SIGKILL say; it is ended before. The
    target needs none: the kernel ends what a tracer leaves behind."""

    _word = struct.Struct("=i")

    def __init__(self) -> None:
        ours, self._tell = os.pipe2(os.O_CLOEXEC)
        if os.fork() == 0:
            try:
                kept = os.dup2(ours, 0)
                os.closerange(1, 1 << 16)  # whatever the learner holds goes with the learner
                self._wait(kept)
            finally:
                os._exit(0)
        os.close(ours)

    def hold(self, session: int) -> None:
        """Of one more exercise."""
        os.write(self._tell, self._word.pack(session))

    def close(self) -> None:
        """Once it has been ended."""
        os.close(self._tell)

    def _wait(self, told: int) -> None:
        sessions = set()
        while word := os.read(told, self._word.size):
            sessions.add(self._word.unpack(word)[0])
        for process in of_sessions(sessions):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
