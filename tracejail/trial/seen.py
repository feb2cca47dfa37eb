"""What was and was not seen of a target whose time is over, in words for a tired admin."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from tracejail.kernel.processes import waits_in

from .outcome import count_words, end_words

if TYPE_CHECKING:
    from .run import Run

_NEWS = 2.0   # seconds since something new, within which a target is said to be still at it
# Calls that a program waits in, by their numbers on x86-64 (syscall_64.tbl).
_CALLS = {
    0: "read", 1: "write", 7: "poll", 23: "select", 34: "pause", 35: "nanosleep", 42: "connect", 43: "accept", 44: "sendto",
    45: "recvfrom", 47: "recvmsg", 61: "wait4", 72: "fcntl", 73: "flock", 128: "rt_sigtimedwait", 130: "rt_sigsuspend",
    202: "futex", 230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 257: "openat", 270: "pselect6", 271: "ppoll",
    281: "epoll_pwait", 288: "accept4",
}


def time_out_words(run: Run) -> tuple[str, str]:
    """The reason of a time-out: the phase, what was waited for, and what was seen; and what to do."""
    drive, outcome = run.drive, run.outcome
    phase = outcome.phase
    seen = [_processes(run), _network(run), *_readiness(run), *_doing(run)]
    reason = f"time-out after {drive.timeout:g} s at the {phase}: {run.waits}; {'; '.join(word for word in seen if word)}"
    if not phase.endswith("start"):
        return reason, "see what it said below; a longer --timeout, if it is only slow"
    if drive.driven:
        return reason, "a longer --timeout, or say with --ready how a start can be seen"
    return reason, "a longer --timeout; for a daemon an --exercise, or with --ready how a start can be seen"


def _processes(run: Run) -> str:
    count, status = len(run.members.all), run.outcome.status
    if not count:
        return f"it {end_words(status)}, and nothing of it is left" if status is not None else "nothing of it runs"
    if status is not None:
        return f"its first process {end_words(status)}, and {count_words(count)} of it {'is' if count == 1 else 'are'} left"
    return f"{count_words(count)} of it run" if count > 1 else ""


def _network(run: Run) -> str:
    if run.outcome.listens:
        shown = [*run.outcome.listens][:4]
        more = f" and {len(run.outcome.listens) - len(shown)} more" if len(run.outcome.listens) > len(shown) else ""
        return f"it {'listens on' if run.listening else 'has bound, without listen(2),'} {', '.join(shown)}{more}"
    return "it listens" if run.listening else "it has not called listen(2)"


def _readiness(run: Run) -> list[str]:
    words = []
    if run.drive.ready == "notify":
        words.append("it did not say READY=1 to the service manager")
    elif run.drive.ready and run.outcome.phase.endswith("start"):
        words.append(f"--ready {run.drive.ready} was not so")
    if run.listeners.words:
        words.append(f"its last word to the service manager was {run.listeners.words!r}")
    return words


def _doing(run: Run) -> list[str]:
    words = []
    main = run.members.main()
    if main:
        number = waits_in(main[0])
        if number is None:
            words.append("it is busy")
        elif number >= 0:
            words.append(f"it waits in {_CALLS.get(number, f'system call {number}')}(2)")
    lines = run.answers.supply.ledger.lines
    if lines and monotonic() - run.quiet.last_news < _NEWS:
        words.append(f"its last miss was `{next(reversed(lines))}`")
    return words
