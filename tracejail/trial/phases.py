"""The phases of a run, in their order: start, ready, exercise, reload, log reopen, stop; and the second start.

A generator that yields where it has to wait, so that the order of things is the order of the lines here.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from tracejail.kernel.processes import ignores
from tracejail.model import Service, Step

from .members import signal_of
from .outcome import count_words, end_words, ended_words, exit_status
from .quiet import Rest
from .ready import COMMAND, is_ready
from .seen import time_out_words

if TYPE_CHECKING:
    from .run import Run

# How quiet it must be: one that listens and has something to come; one that listens, where quiet is the end of the
# learning; after what was done to it; one that has something to come and listens nowhere.
_READY = Rest(0.01, 0.15, 2.0)
_ALONE = Rest(0.6, 0.6, 2.0)
_SETTLED = Rest(0.008, 0.15, 2.0)
_SPEECHLESS = Rest(2.0, 5.0, float("inf"))
_AFTER_SIGNAL = 0.3    # seconds that a target may take to begin with what a signal asks for
_TELLING = 0.1         # seconds that the end of a target may take to be told
_GRACE_LATE = 2.0      # seconds from the stop signal to SIGKILL, at most, after a time-out
_LEFT_BEHIND = 2.0     # seconds from the end of the target to the stop of what it left behind
_FORSAKEN = 3.0        # seconds that an exercise may take to end when there is nothing left that it could drive
_ASKING = 5.0          # seconds that one call of --ready command: may take
_BETWEEN = 0.1         # seconds between two looks at --ready
_KILLED = 10.0         # seconds from SIGKILL to the next
_KILLS = 2             # times that SIGKILL is tried

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
    grace: float = 10.0       # seconds from the stop signal to SIGKILL
    timeout: float = 60.0     # seconds that one start may take, with all that is done to it
    expect: int = 0
    service: Service = Service()
    label: str = ""           # of the status line: "round 1"

    @property
    def driven(self) -> bool:
        """Whether something is to be done to the target once it is ready; else its own end is waited for."""
        service = self.service
        return bool(self.exercises or self.ready or self.reload or self.reopen or service.unit or service.after)


class Failed(Exception):
    """The run is not as expected: why, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class TimedOut(Exception):
    """Thrown into the phases when the time of a start is over."""


def phases(run: Run) -> Waits:
    """All that is done to a target, to its end."""
    yield from _once(run, "")
    if run.drive.again and run.as_expected():
        run.outcome.begin_again()
        yield from _once(run, "second ")


def _once(run: Run, which: str) -> Waits:
    grace = run.drive.grace
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
        run.outcome.timed_out = True
        run.fail(*time_out_words(run))
        if run.exercise:
            run.outcome.failed_output = run.end_exercise()
        grace = min(grace, _GRACE_LATE)
    yield from _stop(run, f"{which}stop", grace)


def _drive(run: Run, which: str) -> Waits:
    drive = run.drive
    yield from _exercise(run, f"{which}exercise")
    if drive.reload or drive.service.reload:
        yield from _reload(run, f"{which}reload")
        yield from _exercise(run, f"exercise after the {which}reload")
    if drive.reopen:
        run.enter_phase(f"{which}log reopen")
        _send(run, drive.reopen)
        yield from _take_effect(run)
        yield from _exercise(run, f"exercise after the {which}log reopen")


# --- the phases -------------------------------------------------------------------------------------------------------


def _until_ready(run: Run) -> Generator[None, None, bool]:
    """Wait until the target is ready for what is to be done to it; False if it has ended."""
    drive, outcome = run.drive, run.outcome
    run.waits = "it was never ready" if drive.driven else "it did not end"
    try:
        while True:
            now = monotonic()
            if run.main_ended and drive.driven and exit_status(outcome.status or 0) != drive.expect:
                left = f", and left {count_words(len(run.members.all))} behind" if run.members.all else ""
                raise Failed(f"it {end_words(outcome.status)} before it was ready{left}")
            if run.main_ended and not run.members.all:
                if drive.driven:
                    away = "leave the exercise away" if drive.exercises else "learn the program itself, without --unit"
                    hint = f"give it the option that keeps it in the foreground, or {away}"
                    raise Failed(f"it {end_words(outcome.status)} before it was ready, and was not exercised", hint)
                return False
            if drive.ready.startswith(COMMAND):
                if _condition_holds(run, now):
                    return True
            elif drive.ready and drive.ready != "notify":
                if now >= run.next_look:
                    run.next_look = now + _BETWEEN
                    if is_ready(drive.ready, run.members.init, run.answers.supply.tree):
                        return True
            elif drive.ready or (run.listeners.ready and drive.driven):
                if run.listeners.ready:
                    return True
            elif run.listening:
                if run.quiet.lasts(run.members.all, _READY if drive.driven else _ALONE):
                    return True
            elif run.main_ended:
                if _runs_on_in_silence(run, now):
                    return True
            elif drive.driven and run.quiet.lasts(run.members.all, _SPEECHLESS):
                text = "it listens nowhere: taken for ready when it did nothing new for some seconds (--ready says better)"
                outcome.notes[text] = None
                return True
            yield
    finally:
        if run.condition:
            run.condition.end()
            run.condition = None


def _runs_on_in_silence(run: Run, now: float) -> bool:
    """It has forked and listens nowhere: for a daemon without a network that is all that can be seen, but for a pid file."""
    driven = run.drive.driven
    if run.members.by_pid_file():
        return run.quiet.lasts(run.members.all, _SETTLED if driven else _ALONE)
    if now - run.main_ended < _LEFT_BEHIND:
        return False
    if not driven:
        run.outcome.notes["left processes behind that do not listen; they were stopped"] = None
        return True
    return run.quiet.lasts(run.members.all, _SETTLED)


def _condition_holds(run: Run, now: float) -> bool:
    """Whether the command of `--ready command:` ended well. It runs beside the trial, as what it asks the target for may
    have to be brought first."""
    asked = run.condition
    if asked is None:
        if now >= run.next_look:
            run.begin_condition(run.drive.ready.removeprefix(COMMAND))
        return False
    if asked.status is None and now - asked.began < _ASKING:
        return False
    in_time = asked.status is not None
    run.condition, run.next_look = None, now + _BETWEEN
    run.outcome.failed_output = asked.end()
    if in_time and asked.status == 0:
        run.outcome.failed_output = b""
        return True
    return False


def _exercise(run: Run, phase: str) -> Waits:
    commands = run.drive.exercises
    for number, command in enumerate(commands, 1):
        run.enter_phase(phase, f"{number} of {len(commands)}" if len(commands) > 1 else "")
        yield from _shell(run, command, "the exercise")
        run.quiet.disturb()
        yield from _settle(run, "after its exercise")


def _shell(run: Run, command: str, what: str) -> Waits:
    """A shell command of the host's, to its end."""
    exercise = run.begin_exercise(command)
    run.waits = f"{what} did not end: {command}"
    problem = ""
    while exercise.status is None and not problem:
        if exercise.is_full():
            problem = "wrote more than is kept"
        elif run.broke_down() and monotonic() - run.main_ended > _FORSAKEN:
            problem = "went on without it"
        else:
            yield
    text = run.end_exercise()
    if exercise.status != 0 or problem:
        # A client sees a connection close before the end of the process that had it is told.
        told = monotonic() + _TELLING
        while not run.main_ended and monotonic() < told:
            yield
        run.outcome.failed_output = text
        problem = problem or f"ended with status {exit_status(exercise.status or 0)}"
        how = ended_words(run.outcome) if run.outcome.phase == "exercise" else end_words(run.outcome.status)
        ended = f"it {how}, and " if run.broke_down() else ""
        raise Failed(f"{ended}{what} {problem}: {command}")


def _settle(run: Run, when: str) -> Waits:
    while True:
        run.waits = "it said RELOADING=1 and never READY=1" if run.listeners.reloading else f"it did not go quiet {when}"
        if not run.listeners.reloading and run.quiet.lasts(run.members.all, _SETTLED):
            return
        yield


def _reload(run: Run, phase: str) -> Waits:
    drive = run.drive
    run.enter_phase(phase)
    if not run.members.main():
        raise Failed(f"it could not be reloaded, as it had ended: it {ended_words(run.outcome)}")
    run.listeners.forget_ready()
    yield from _steps(run, drive.service.reload)
    if drive.reload.startswith(COMMAND):
        yield from _shell(run, drive.reload.removeprefix(COMMAND), "the reload command")
    elif drive.reload:
        _send(run, drive.reload)
    yield from _take_effect(run)


def _take_effect(run: Run) -> Waits:
    """Raises Failed if the target ended of it, but for one that has handed over to a successor."""
    outcome = run.outcome
    run.quiet.disturb(_AFTER_SIGNAL)
    yield from _settle(run, f"after the {outcome.phase}")
    hint = "see what it said, or tell it in another way"
    if not run.members.main():
        raise Failed(f"it {end_words(outcome.status)}", hint)
    if outcome.ended_in == outcome.phase and exit_status(outcome.status or 0) != run.drive.expect:
        left = count_words(len(run.members.all))
        raise Failed(f"its first process {end_words(outcome.status)}, and left {left} behind", hint)


def _send(run: Run, name: str) -> None:
    number = signal_of(name)
    name = signal.Signals(number).name
    members = run.members
    main = members.main()
    if not main:
        raise Failed(f"there was no process left to send {name} to: it {ended_words(run.outcome)}")
    acting = members.acting_on(number)
    if not acting:
        ignored = any(ignores(process, number) for process in main)
        why = " and it ignores it" if ignored else ", which would kill it"
        raise Failed(f"nothing of it catches {name}{why}", "name the signal that it knows, or none")
    if not set(acting) & set(main):
        run.outcome.notes[f"{name} went to what its first process has started, which does not catch it itself"] = None
    for process in acting:
        members.send(process, number)


def _steps(run: Run, steps: Iterable[Step], grace: float = float("inf")) -> Waits:
    """Commands that run in the trial, each to its end. The time-out does not come at a stop: they have that grace then."""
    deadline = monotonic() + grace
    for step in steps:
        words = " ".join(step.argv)
        process = yield from run.start_step(step)
        run.waits = f"{words} did not end"
        while process not in run.step_ended:
            if monotonic() > deadline:
                run.members.send(process, signal.SIGKILL)
                raise Failed(f"{words} did not end within {grace:g} s and was killed (--grace)")
            yield
        status = run.step_ended.pop(process)
        if status != 0 and not step.may_fail:
            raise Failed(f"{words}: ended with status {exit_status(status)}")
        run.quiet.disturb()


def _stop(run: Run, phase: str, grace: float) -> Waits:
    run.enter_phase(phase)
    outcome, drive, members = run.outcome, run.drive, run.members
    outcome.stopped = outcome.status is None
    if members.main() and drive.service.stop and not outcome.timed_out:
        try:
            yield from _steps(run, drive.service.stop, grace)
        except Failed as failure:
            run.fail(failure.reason, failure.hint)
    members.tell_to_end(drive.stop)
    deadline, next_signal, kills = monotonic() + grace, 0.0, 0
    while members.all:
        now = monotonic()
        if now > deadline:
            if not outcome.timed_out:
                _say_killed(run, kills, grace)
            if kills == _KILLS:
                return
            members.kill_all()
            kills, deadline = kills + 1, now + _KILLED
        elif run.main_ended and now > next_signal and now - run.main_ended > _SETTLED.asleep:
            next_signal = now + _LEFT_BEHIND
            members.tell_to_end(drive.stop)  # what the target left behind
        yield


def _say_killed(run: Run, kills: int, grace: float) -> None:
    name = signal.Signals(signal_of(run.drive.stop)).name
    count = count_words(len(run.members.all))
    if kills:
        text = f"{count} did not end on SIGKILL: the kernel holds them"
    elif run.outcome.status is None:
        text = f"it did not end within {grace:g} s of {name} and was killed (--stop names another signal, --grace another time)"
    else:
        text = f"it left {count} behind, not ended within {grace:g} s of {name} and killed"
    run.outcome.notes[text] = None
