"""The phases of a run, in their order: start, ready, exercise, reload, log reopen, stop; and the second start.

A generator that yields where it has to wait, so that the order of things is the order of the lines here.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from tracejail.kernel.processes import heeds
from tracejail.model import Service, Step

from .outcome import ended_words, exit_status
from .ready import is_ready

if TYPE_CHECKING:
    from .run import Run

_QUIET = 0.01          # seconds in which no thread ran, for a target that listens and has exercises to come
_QUIET_ALONE = 0.6     # seconds without news, without exercises: then quiet is the end of the learning
_SETTLE = 0.008        # seconds in which no thread ran, after an exercise
_AFTER_SIGNAL = 0.3    # seconds that a target may take to begin with what a signal asks for
_SPEECHLESS = 2.0      # seconds in which a target that has exercises to come, and listens nowhere, did nothing at all
_GRACE = 10.0          # seconds from the stop signal to SIGKILL
_GRACE_LATE = 2.0      # the same after a time-out
_LEFT_BEHIND = 2.0     # seconds from the end of the target to the stop of what it left behind

# What is waited for happens between two resumptions.
Waits = Generator[None]


@dataclass(frozen=True)
class Drive:
    """How a target is driven while it runs."""

    exercises: tuple[str, ...] = ()
    ready: str = ""
    reload: str = ""          # signal name, or command:CMD
    reopen: str = ""          # signal name
    again: bool = False       # a second start, in what the first left
    stop: str = "TERM"
    timeout: float = 60.0     # seconds that one start may take, with all that is done to it
    expect: int = 0
    service: Service = Service()
    label: str = ""           # of the status line: "round 1"


class Failed(Exception):
    """The run is not as expected: why, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class TimedOut(Exception):
    """Thrown into the phases when the time of a start is over."""


def signal_of(name: str) -> int:
    """The number of a signal's name that was checked before."""
    return int(name) if name.isdigit() else int(signal.Signals["SIG" + name.upper().removeprefix("SIG")])


def phases(run: Run) -> Waits:
    """All that is done to a target, to its end."""
    yield from _once(run, "")
    if run.drive.again and run.as_expected():
        run.outcome.begin_again()
        yield from _once(run, "second ")


def _once(run: Run, which: str) -> Waits:
    grace = _GRACE
    service = run.drive.service
    try:
        run.begin(f"{which}start")
        yield from _steps(run, service.before)
        yield from run.start_target()
        if (yield from _until_ready(run)):
            yield from _steps(run, service.after)
            yield from _drive(run, which)
    except Failed as failure:
        run.fail(failure.reason, failure.hint)
    except TimedOut:
        _say_time_out(run)
        grace = _GRACE_LATE
    yield from _stop(run, f"{which}stop", grace)


def _drive(run: Run, which: str) -> Waits:
    drive = run.drive
    yield from _exercise(run, f"{which}exercise")
    if drive.reload or drive.service.reload:
        yield from _reload(run, f"{which}reload")
        yield from _exercise(run, f"exercise after the {which}reload")
    if drive.reopen:
        run.enter_phase(f"{which}log reopen")
        yield from _send(run, drive.reopen)
        yield from _exercise(run, f"exercise after the {which}log reopen")


def _settle(run: Run) -> Waits:
    while run.listeners.reloading or not run.quiet.lasts(run.processes, _SETTLE):
        yield


# --- the phases -------------------------------------------------------------------------------------------------------


def _until_ready(run: Run) -> Generator[None, None, bool]:
    """Wait until the target is ready for what is to be done to it; False if it has ended."""
    drive, outcome = run.drive, run.outcome
    next_question = 0.0
    while True:
        now = monotonic()
        if run.main_ended and not run.processes:
            if drive.exercises and exit_status(outcome.status or 0) == drive.expect:
                hint = "give it the option that keeps it in the foreground, or leave the exercise away"
                raise Failed("it ended before it was ready, and was not exercised", hint)
            return False
        if drive.ready == "notify":
            if run.listeners.ready:
                return True
        elif drive.ready:
            if now >= next_question:
                next_question = now + 0.1
                if is_ready(drive.ready, run.init, run.stage.private_network, run.answers.supply.tree):
                    return True
        elif run.listeners.ready and (drive.exercises or drive.reload):
            return True
        elif run.listening:
            if run.quiet.lasts(run.processes, _QUIET if drive.exercises else _QUIET_ALONE):
                return True
        elif run.main_ended and now - run.main_ended > _LEFT_BEHIND:
            # It has forked and listens nowhere: for a daemon without a network that is all that can be seen.
            if not drive.exercises:
                outcome.notes["left processes behind that do not listen; they were stopped"] = None
                return True
            if run.quiet.lasts(run.processes, _SETTLE):
                return True
        elif drive.exercises and not run.main_ended and run.quiet.lasts(run.processes, _SPEECHLESS, restless=False):
            text = f"it listens nowhere: taken for ready when it had done nothing for {_SPEECHLESS:g} s (--ready says better)"
            outcome.notes[text] = None
            return True
        yield


def _exercise(run: Run, phase: str) -> Waits:
    for command in run.drive.exercises:
        run.enter_phase(phase)
        yield from _shell(run, command, "the exercise")
        run.quiet.disturb()
        yield from _settle(run)


def _shell(run: Run, command: str, what: str) -> Waits:
    """A shell command of the host's, to its end."""
    exercise = run.begin_exercise(command)
    while exercise.status is None:
        yield
    text = run.end_exercise()
    if exercise.status != 0:
        run.outcome.failed_output = text
        raise Failed(f"{what} ended with status {exit_status(exercise.status)}: {command}")


def _reload(run: Run, phase: str) -> Waits:
    drive = run.drive
    run.enter_phase(phase)
    lived = run.main()
    if not lived:
        raise Failed("it had ended before it could be reloaded")
    run.listeners.forget_ready()
    yield from _steps(run, drive.service.reload)
    if drive.reload.startswith("command:"):
        yield from _shell(run, drive.reload.removeprefix("command:"), "the reload command")
    elif drive.reload:
        yield from _send(run, drive.reload)
    run.quiet.disturb(_AFTER_SIGNAL)
    yield from _settle(run)
    if not run.main():
        raise Failed(f"it ended at the reload: it {ended_words(run.outcome)}", "see what it said, or reload it in another way")


def _send(run: Run, name: str) -> Waits:
    number = signal_of(name)
    name = signal.Signals(number).name
    processes = run.main()
    heeding = [process for process in processes if heeds(process, number)]
    if processes and not heeding:
        raise Failed(f"nothing of it catches {name}, which would kill it", "name the signal that it knows, or none")
    for process in heeding:
        run.kill(process, number)
    run.quiet.disturb(_AFTER_SIGNAL)
    yield from _settle(run)


def _steps(run: Run, steps: Iterable[Step]) -> Waits:
    """Commands that run in the trial, each to its end."""
    for step in steps:
        process = yield from run.start_step(step)
        while process not in run.step_ended:
            yield
        status = run.step_ended.pop(process)
        if status != 0 and not step.may_fail:
            raise Failed(f"{' '.join(step.argv)}: ended with status {exit_status(status)}")
        run.quiet.disturb()


def _stop(run: Run, phase: str, grace: float) -> Waits:
    run.enter_phase(phase)
    outcome, drive = run.outcome, run.drive
    outcome.stopped = outcome.status is None
    deadline = monotonic() + grace
    next_signal = 0.0
    if run.main() and drive.service.stop and grace == _GRACE:
        try:
            yield from _steps(run, drive.service.stop)
        except Failed as failure:
            run.fail(failure.reason, failure.hint)
    run.signal(drive.stop)
    while run.processes:
        now = monotonic()
        if now > deadline:
            if outcome.status is None and not outcome.timed_out:
                outcome.notes[f"did not end within {_GRACE:.0f} s of SIG{drive.stop.removeprefix('SIG')} and was killed"] = None
            run.kill_all()
            deadline = now + _GRACE
        elif run.main_ended and now > next_signal and now - run.main_ended > _SETTLE:
            next_signal = now + _LEFT_BEHIND
            run.signal(drive.stop)  # what the target left behind
        yield


def _say_time_out(run: Run) -> None:
    outcome, drive = run.outcome, run.drive
    outcome.timed_out = True
    exercised = drive.ready or drive.exercises
    waited = {
        "start": "it was never ready" if exercised else "it did not end",
        "exercise": f"its exercise did not end: {run.exercise.command}" if run.exercise else "it did not go quiet",
    }.get(outcome.phase.split()[0 if outcome.phase.startswith("exercise") else -1], f"the {outcome.phase} did not end")
    seen = [f"it listens on {', '.join(outcome.listens)}" if outcome.listens else "it has not called listen(2)"]
    if drive.ready:
        seen.append(f"{drive.ready} was not so")
    if run.listeners.words:
        seen.append(f"its last word to the service manager was {run.listeners.words!r}")
    where = "" if outcome.phase in ("start", "exercise") else f" ({outcome.phase})"
    run.fail(
        f"time-out after {drive.timeout:g} s{where}: {waited}; {'; '.join(seen)}",
        "a longer --timeout, or say with --ready how a start can be seen",
    )
    if run.exercise:
        outcome.failed_output = run.end_exercise()
