"""How a run ended."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP}


@dataclass(slots=True)
class Outcome:
    """What a run came to. `status` is as wait(2) gave it for the target, None while it lives."""

    status: int | None = None
    stopped: bool = False                  # the run's own stop signal ended it
    failure: str = ""                      # why the run is not as expected, whatever the status; one line
    hint: str = ""
    timed_out: bool = False
    phase: str = "start"
    failed_in: str = ""                    # the phase that `failure` is of
    ended_in: str = ""                     # the phase in which the target ended
    earlier: tuple[int, bool] | None = None  # status and `stopped` of the first start, where there was a second
    output: bytes = b""                    # the target's standard output
    errors: bytes = b""                    # and its standard error
    exercise_output: bytes = b""           # of all exercises
    failed_output: bytes = b""             # of the one that failed
    notes: dict[str, None] = field(default_factory=dict)
    opaque: bool = False
    became: set[int] = field(default_factory=set)        # users whose ids it took on
    users: set[int] = field(default_factory=set)         # and others: owners that it gave to files
    groups: set[int] = field(default_factory=set)
    listens: dict[str, None] = field(default_factory=dict)
    capabilities: set[str] = field(default_factory=set)  # that some call took
    processes: int = 0
    log: bytes = b""                       # what came to the system log

    def begin_again(self) -> None:
        """Before a second start."""
        if self.status is not None:
            self.earlier = (self.status, self.stopped)
        self.status, self.stopped, self.ended_in = None, False, ""


def exit_status(status: int) -> int:
    """As a shell has it: the status, or 128 and the signal's number."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def count_words(count: int) -> str:
    """So many processes, in words."""
    return "1 process" if count == 1 else f"{count} processes"


def end_words(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None:
        return "was still running"
    if os.WIFEXITED(status):
        return f"exited with status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"was killed by {name}"


def ended_words(outcome: Outcome) -> str:
    """How the target ended, and when."""
    words = end_words(outcome.status)
    if outcome.stopped and outcome.status is not None:
        return words + " after it was told to stop"
    return words + (f" at the {outcome.ended_in}" if outcome.ended_in not in ("", "start") else "")


def as_expected(outcome: Outcome, expect: int) -> bool:
    """Whether the run ended as it should: the expected status, or any but a crash after our stop signal."""
    if outcome.failure or outcome.timed_out or outcome.status is None:
        return False
    if outcome.stopped:
        return not (os.WIFSIGNALED(outcome.status) and os.WTERMSIG(outcome.status) in _CRASHES)
    return exit_status(outcome.status) == expect
