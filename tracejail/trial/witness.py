"""Who hears of all that happens in a run, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracejail.model import SyscallRecord


@dataclass(frozen=True, slots=True)
class Witness:
    """Function values, for an engine that stops at every call."""

    call: Callable[[SyscallRecord, str], None]    # one has returned, or never will; the phase of the run
    launched: Callable[[int], None]               # a process of ours is there, and has not executed its program yet
    ended: Callable[[int, int], None]             # process, status as of wait(2)
