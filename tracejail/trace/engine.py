"""What an engine is: a filter for the target, and a loop that turns stops into records for the hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tracejail.model import SyscallRecord


class Answer(Enum):
    """What happens with a finished call."""

    RETRY = "retry"  # rewind it and make it again in place: the target never sees this result
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the tracer is handed: function values. It knows no manifest and no policy."""

    enter: Callable[[SyscallRecord], bool]      # at a call's entry; true if its result is wanted too
    finish: Callable[[SyscallRecord], Answer]   # at its exit, where wanted
    event: Callable[[SyscallRecord], None]      # a call without a path that is worth knowing, at its entry
    ended: Callable[[int, int], None]           # a process ended: id, status as of wait(2)
    idle: Callable[[], float | None]            # seconds to wait at most, or None to end the loop


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine as a value: its name, the packed seccomp filter of the target, and its loop."""

    name: str
    filter: bytes
    run: Callable[[int, Hooks], None]           # seized thread, hooks


class Interrupted(Exception):
    """A signal asks the tracer to end (SIGINT, SIGTERM, SIGHUP)."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
