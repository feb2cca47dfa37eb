"""What is done to a daemon while it is watched: exercises from the outside, and a reload where one is asked for."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from time import monotonic

from tracejail.errors import UsageError
from tracejail.kernel.processes import acts_on
from tracejail.kernel.running import name_of
from tracejail.model import TrialOptions
from tracejail.trial.exercise import Exercise
from tracejail.trial.leash import Leash
from tracejail.trial.members import signal_of

_COMMAND = "command:"
_QUIET, _PATIENCE = 0.3, 2.0   # seconds without a call before the next step; seconds that are waited for them


def check_steps(process: int, options: TrialOptions) -> None:
    """Raises UsageError for a reload that makes no sense, or would end the process."""
    if not options.reload or options.reload.startswith(_COMMAND):
        return
    try:
        number = signal.Signals(signal_of(options.reload))
    except (KeyError, ValueError):
        raise UsageError(f"--reload {options.reload}: not a signal", "see kill -l") from None
    if not acts_on(process, number):
        raise UsageError(
            f"process {process} ({name_of(process)}) does not catch {number.name}: it would end of it, or not hear it",
            "name the signal that makes it read its configuration anew, or --reload command:CMD",
        )


class Exercising:
    """The steps, one after the other, each when the daemon has gone quiet. All but `heard` is called by one thread."""

    def __init__(self, process: int, options: TrialOptions) -> None:
        self.ready = False           # it is watched: begin
        self.phase = "start"         # for the calls
        self.failure = ""
        self.said = b""              # by an exercise that failed
        self.notes: dict[str, None] = {}
        self._process = process
        self._reload = options.reload
        # A step is a phase and a command, "" for the signal.
        exercises = [("exercise", command) for command in options.exercises]
        reload = options.reload.removeprefix(_COMMAND) if options.reload.startswith(_COMMAND) else ""
        self._steps = deque([*exercises, ("reload", reload), *exercises] if options.reload else exercises)
        self._running: Exercise | None = None
        self._leash = Leash(process, private_network=False)
        if any(command for _, command in self._steps):
            self._leash.prepare()
        self._last = self._began = 0.0

    def heard(self) -> None:
        """It has made a call."""
        self._last = monotonic()

    def go_on(self) -> None:
        """Do what is next, if its time has come."""
        if self._running is not None:
            self._leash.hear()
            if self._running.status is None:
                return
            self._over(self._running.status)
        now = monotonic()
        if not self.ready or not self._steps or (now - self._last < _QUIET and now - self._began < _PATIENCE):
            return
        self._began = now
        self.phase, command = self._steps.popleft()
        if command:
            self._running = Exercise(command, self._process, self.phase, self._process, self._leash)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal_of(self._reload))

    def _over(self, status: int) -> None:
        assert self._running is not None
        command, text = self._running.command, self._running.end()
        self._running = None
        if status and not self.failure:
            self.failure = f"the exercise {command!r} failed with status {os.waitstatus_to_exitcode(status)}"
            self.said = text

    def end(self) -> None:
        """The time is over."""
        if self._running is not None:
            self._leash.hear()
            if self._running.status is None:
                command = self._running.command
                self.notes[f"{command!r} had not ended when the time was over: --timeout gives it more"] = None
                self._running.end()
                self._running = None
            else:
                self._over(self._running.status)
        for phase, command in self._steps:
            self.notes[f"the time was over before it came to the {phase} {command!r}: --timeout gives it more"] = None
        self._leash.let_end()
