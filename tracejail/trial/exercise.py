"""An exercise: a shell command of the host that drives the target, in the target's network."""

from __future__ import annotations

import contextlib
import os
import signal
from time import monotonic

from tracejail.kernel.namespaces import network_namespace

from .output import contents, is_full, output_file


class Exercise:
    """One that runs. Its end is told by wait(2) to whoever waits for all children."""

    def __init__(self, command: str, init: int, private_network: bool, phase: str) -> None:
        self.command = command
        self.status: int | None = None
        self.began = monotonic()
        self.output = output_file("exercise")
        environment = {**os.environ, "TRACEJAIL_ROOT": f"/proc/{init}/root", "TRACEJAIL_PHASE": phase}
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
