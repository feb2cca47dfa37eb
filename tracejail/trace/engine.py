"""What an engine is: a filter for the target, and perhaps a session of the miss-only kind; and what it tells to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from tracejail.model import SyscallRecord

from .session import Session


class Answer(Enum):
    """What happens with a finished call."""

    RETRY = "retry"  # rewind it and make it again in place: the target never sees this result
    LEAVE = "leave"
    PRETEND = "pretend"  # it is told that the call went well
    KNOWN = "known"  # leave, also when the same call asks for the same path again


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the tracer is handed: function values. It knows no manifest and no policy."""

    enter: Callable[[SyscallRecord], bool]      # at a call's entry; true if its result is wanted too
    finish: Callable[[SyscallRecord], Answer]   # at its exit, where wanted, or where it failed
    used: Callable[[SyscallRecord], Answer]     # at its exit, where it may have used a stand-in (miss-only engine)
    event: Callable[[SyscallRecord], None]      # a call without a path that is worth knowing, at its entry
    started: Callable[[int], None]              # a process was made: id
    ended: Callable[[int, int], None]           # a process ended: id, status as of wait(2)
    idle: Callable[[], float | None]            # seconds to wait at most, or None to end the loop
    pretend: Callable[[SyscallRecord], bool] = lambda _: False   # a call of `event` that is not made, and told to be
    newcomers: list[int] = field(default_factory=list)  # seized threads that the idle hook has made, to be traced from now on
    sources: Mapping[int, Callable[[], None]] = field(default_factory=dict)  # descriptor -> what to do when it is readable
    heard: Callable[[SyscallRecord], None] = lambda _: None   # by an engine for every call: one has returned, or never will


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine as a value: its name, the packed seccomp filter of the target, and the BPF side where it has one."""

    name: str
    filter: bytes
    session: Session | None = None
    every: bool = False   # no filter: each call, whatever it is, stops at its entry and its exit


class Interrupted(Exception):
    """A signal asks the tracer to end (SIGINT, SIGTERM, SIGHUP)."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
