"""An exercise: a shell command of the host that drives the target, in the target's network."""

from __future__ import annotations

import os
from time import monotonic

from .leash import Leash
from .output import contents, is_full, output_file


class Exercise:
    """One that runs, on the leash of its run. Its status is there once it has ended."""

    def __init__(self, command: str, init: int, phase: str, target: int, leash: Leash) -> None:
        self.command = command
        self.status: int | None = None
        self.began = monotonic()
        self.output = output_file("exercise")
        environment = {**os.environ, "TRACEJAIL_ROOT": f"/proc/{init}/root", "TRACEJAIL_PHASE": phase}
        environment |= {"TRACEJAIL_PID": str(target)} if target else {}
        self._leash = leash
        self._number = leash.begin(command, environment, self.output, self._ended)

    def _ended(self, status: int) -> None:
        self.status = status

    def is_full(self) -> bool:
        """Whether it has said more than is kept."""
        return is_full(self.output)

    def end(self) -> bytes:
        """What it said, after its end or to make one; to be called once. What it left in the background lives on."""
        if self.status is None:
            self._leash.end(self._number)
        text = contents(self.output)
        os.close(self.output)
        return text
