"""One run: start the target, wait until it is ready, exercise it, stop it, and say how it went.

Long because: the phases of a run share one clock and one state; split, they would pass it around.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import monotonic

from tracejail.errors import IncompleteError
from tracejail.jail.enter import Launch, Started, start
from tracejail.kernel import ptrace
from tracejail.kernel.namespaces import network_namespace
from tracejail.model import SyscallRecord
from tracejail.show import Show
from tracejail.trace.engine import Answer, Engine, Hooks
from tracejail.trace.tracer import trace

from .answers import Answers
from .outcome import Outcome, exit_status
from .ready import is_ready, time_run

_QUIET = 0.01          # seconds in which no thread ran, for a target that listens and has exercises to come
_QUIET_ALONE = 0.6     # seconds without news, without exercises: then quiet is the end of the learning
_SETTLE = 0.008        # seconds in which no thread ran, after an exercise
_RESTLESS = 0.15       # seconds without news that will do for a target that never rests, as one that polls
_STATUS = 0.2          # seconds between two status lines
_LOOK = 0.002          # seconds between two looks while something is waited for
_GRACE = 10.0          # seconds from the stop signal to SIGKILL
_LEFT_BEHIND = 2.0     # seconds from the end of the target to the stop of what it left behind
_MOST_OUTPUT = 64 << 20  # bytes
_SETS_USER = ("setuid", "setreuid", "setresuid", "setfsuid")
_SETS_GROUP = ("setgid", "setregid", "setresgid", "setfsgid")
_CHOWNS = {"chown": 1, "lchown": 1, "fchown": 1, "fchownat": 2}
BLOCKED = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class Drive:
    """How a target is driven while it runs."""

    exercises: tuple[str, ...] = ()
    ready: str = ""
    reload: int = 0
    stop: int = signal.SIGTERM
    timeout: float = 60.0
    label: str = ""           # of the status line: "round 1"


def run(launch: Launch, drive: Drive, engine: Engine, answers: Answers, show: Show) -> Outcome:
    """Run the target once and return when its last process has ended.

    Raises KernelLacksError, InputOutputError (a tree that is full, a source that changes), Interrupted.
    Whatever happens, no process of the target is left.
    """
    with _signals_blocked():
        return _Run(launch, drive, engine, answers, show).go()


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Run:
    def __init__(self, launch: Launch, drive: Drive, engine: Engine, answers: Answers, show: Show) -> None:
        self.launch, self.drive, self.engine, self.answers, self.show = launch, drive, engine, answers, show
        self.outcome = Outcome()
        self.started: Started | None = None
        self.processes: set[int] = set()
        self.over = False
        self.began = self.last_stop = monotonic()
        self.last_news = self.last_run = self.began
        self.news: tuple[object, ...] = ()
        self.time_run: int | None = None
        self.next_look = self.next_status = 0.0
        self.ever = 0                # processes that there were
        self.listening = False
        self.queue = list(drive.exercises)
        self.reloaded = not drive.reload
        self.exercise = 0            # its process id, while there is one
        self.command = ""
        self.exercise_file = -1
        self.deadline = 0.0          # of the present phase: SIGKILL then
        self.main_ended = 0.0
        self.next_question = 0.0
        self.shown = 0
        self.files = (-1, -1)

    def go(self) -> Outcome:
        launch = self.launch
        if not launch.terminal:
            self.files = (_output_file("stdout"), _output_file("stderr"))
            launch = _with_standard(launch, (launch.standard[0], *self.files))
        try:
            self.started = start(launch)
            ptrace.seize(self.started.target)
            self.started.go()
            hooks = Hooks(
                enter=self.enter, finish=self.finish, used=self.used, event=self.event, started=self.born,
                ended=self.ended, idle=self.idle, sources=self.answers.sources(),
            )
            # There is no shell that would continue a target which the terminal has stopped.
            trace(self.started.target, self.engine, hooks, frozenset({signal.SIGTSTP}) if launch.terminal else frozenset())
            failure = self.started.failure()
            if failure:
                self.outcome.failure = self.outcome.failure or failure
        finally:
            self._end_all()
            if launch.terminal:
                _take_terminal_back(launch.standard[0])
            if self.files[0] >= 0:
                self._read_output()
        return self.outcome

    # --- hooks -----------------------------------------------------------------------------------------------

    def enter(self, record: SyscallRecord) -> bool:
        self._seen(record)
        if record.syscall == "bind":
            self._listens(record)
        which = _CHOWNS.get(record.syscall)
        if which is not None:
            self._ids(self.outcome.users, record.words[which])
            self._ids(self.outcome.groups, record.words[which + 1])
        return self.answers.enter(record)

    def finish(self, record: SyscallRecord) -> Answer:
        self.last_stop = monotonic()
        return self.answers.finish(record)

    def used(self, record: SyscallRecord) -> Answer:
        self.last_stop = monotonic()
        return self.answers.used(record)

    def born(self, process: int) -> None:
        if process not in self.processes:
            self.processes.add(process)
            self.ever += 1

    def event(self, record: SyscallRecord) -> None:
        self._seen(record)
        name = record.syscall
        if name == "listen":
            self.listening = True
        elif name == "setgroups":
            self.answers.forget_user(record.process)
        elif name in _SETS_USER:
            self.answers.forget_user(record.process)
            for word in record.words[: 3 if "res" in name else 2 if "re" in name else 1]:
                self._ids(self.outcome.users, word)
        elif name in _SETS_GROUP:
            self.answers.forget_user(record.process)
            for word in record.words[: 3 if "res" in name else 2 if "re" in name else 1]:
                self._ids(self.outcome.groups, word)
        elif name == "fchown":
            self._ids(self.outcome.users, record.words[1])
            self._ids(self.outcome.groups, record.words[2])
        elif name == "ptrace":
            self._opaque(f"{record.program} uses ptrace(2) itself, which a traced program cannot")
        elif name == "seccomp":
            self._opaque(f"{record.program} sets a seccomp filter: calls that it refuses are not seen")
        elif name in ("unshare", "setns"):
            self.answers.known.clear()

    def _seen(self, record: SyscallRecord) -> None:
        self.last_stop = monotonic()

    def _ids(self, known: set[int], word: int) -> None:
        number = word & 0xFFFFFFFF
        if number != 0xFFFFFFFF:  # -1: leave as it is
            known.add(number)

    def _opaque(self, note: str) -> None:
        self.outcome.opaque = True
        self.outcome.notes["opaque: " + note] = None

    def _listens(self, record: SyscallRecord) -> None:
        for argument in record.arguments:
            self.outcome.listens[f"unix:{argument.spelled}"] = None
            self.listening = True
        address = record.address.removeprefix("inet:")
        if record.address.startswith("inet:") and not address.endswith(":0"):
            self.outcome.listens[address] = None
            self.listening = True

    def ended(self, process: int, status: int) -> None:
        self.processes.discard(process)
        self.answers.forget_user(process)  # its id may come again
        if self.started is None:
            return
        if process == self.started.target:
            self.outcome.status = status
            self.main_ended = monotonic()
        elif process == self.started.init:
            self.over = True
        elif process == self.exercise:
            self._exercise_ended(status)

    # --- the phases ------------------------------------------------------------------------------------------

    def idle(self) -> float | None:
        """Between two stops: does what the clock and the phase ask for."""
        if self.over:
            return None
        now = monotonic()
        self._listen_for_news(now)
        self._follow_output(now)
        outcome = self.outcome
        late = now - self.began > self.drive.timeout and not self.launch.terminal
        if outcome.phase != "stop" and late:
            self._time_out()
        match outcome.phase:
            case "start":
                self._start(now)
            case "exercise":
                self._settle(now)
            case "stop":
                self._stopping(now)
        return _LOOK if now - self.last_stop < 1 else 0.1

    def _listen_for_news(self, now: float) -> None:
        """What is asked for again and again, as a clock's time zone, is no news: the target is quiet all the same."""
        ledger = self.answers.supply.ledger
        news = (len(self.answers.known), len(ledger.lines), len(ledger.entries), self.ever, self.outcome.phase)
        if news != self.news:
            self.news, self.last_news, self.last_run = news, now, now

    def _quiet(self, now: float, seconds: float) -> bool:
        """Whether no thread of the target ran for so long; or nothing new came for a while, and none runs now."""
        if now < self.next_look:
            return False
        time = time_run(self.processes)
        self.next_look = now + 10 * (monotonic() - now)  # a thousand threads take a while to look at
        if time is None or time != self.time_run:
            self.time_run, self.last_run = time, now
        rested, silent = now - self.last_run, now - self.last_news
        return time is not None and silent >= seconds and (rested >= seconds or silent >= _RESTLESS)

    def _start(self, now: float) -> None:
        outcome, drive = self.outcome, self.drive
        if self.main_ended and not self.listening and now - self.main_ended > _LEFT_BEHIND:
            outcome.notes["left processes behind that do not listen; they were stopped"] = None
            self._stop()
            return
        if not drive.ready and not self.listening:
            return
        quiet = _QUIET if drive.exercises else _QUIET_ALONE
        if drive.ready:
            if now < self.next_question:
                return
            self.next_question = now + 0.1
            assert self.started is not None
            if not is_ready(drive.ready, self.started.init, self.launch.private_network):
                return
        elif not self._quiet(now, quiet):
            return
        if drive.exercises or drive.ready or drive.reload:
            outcome.phase = "exercise"
            self._next()
        else:
            self._stop()

    def _settle(self, now: float) -> None:
        if self.exercise or not self._quiet(now, _SETTLE):
            return
        if self.queue:
            self._next()
        elif not self.reloaded:
            self.reloaded = True
            self.queue = list(self.drive.exercises)
            for process in self._roots():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, self.drive.reload)
            self.last_news = now + 0.3
        else:
            self._stop()

    def _next(self) -> None:
        if not self.queue:
            return
        self.command = self.queue.pop(0)
        assert self.started is not None
        self.exercise_file = _output_file("exercise")
        environment = dict(os.environ)
        environment["TRACEJAIL_ROOT"] = f"/proc/{self.started.init}/root"
        place = network_namespace(self.started.init) if self.launch.private_network else contextlib.nullcontext()
        with place:
            # Not by fork(2), which copies the page tables of all that this process holds.
            self.exercise = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", self.command],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, self.exercise_file, 1),
                    (os.POSIX_SPAWN_DUP2, self.exercise_file, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )

    def _exercise_ended(self, status: int) -> None:
        self.exercise = 0
        text = _contents(self.exercise_file)
        os.close(self.exercise_file)
        self.exercise_file = -1
        self.outcome.exercise_output += text
        self.last_news = monotonic()
        if status != 0:
            self.outcome.failure = f"the exercise ended with status {exit_status(status)}: {self.command}"
            self.outcome.failed_output = text
            self.queue = []
            self.reloaded = True

    def _stop(self) -> None:
        self.outcome.phase = "stop"
        self.next_question = 0.0
        self.deadline = monotonic() + _GRACE
        self.outcome.stopped = self.outcome.status is None
        self._signal(self.drive.stop)

    def _signal(self, number: int) -> None:
        for process in self._roots():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
                os.kill(process, signal.SIGCONT)

    def _stopping(self, now: float) -> None:
        if now > self.deadline:
            if self.outcome.status is None and not self.outcome.timed_out:
                name = signal.Signals(self.drive.stop).name
                self.outcome.notes[f"did not end within {_GRACE:.0f} s of {name} and was killed"] = None
            self._kill_all()
        elif self.main_ended and now > self.next_question and now - self.main_ended > _SETTLE:
            self.next_question = now + _LEFT_BEHIND
            self._signal(self.drive.stop)  # what the target left behind

    def _time_out(self) -> None:
        outcome = self.outcome
        outcome.timed_out = True
        waited = {
            "start": "it was never ready" if self.drive.ready or self.drive.exercises else "it did not end",
            "exercise": "its exercise did not end",
        }.get(outcome.phase, "it did not end")
        seen = f"it listens on {', '.join(outcome.listens)}" if outcome.listens else "it has not called listen(2)"
        outcome.failure = outcome.failure or f"time-out after {self.drive.timeout:g} s: {waited}; {seen}"
        outcome.hint = "a longer --timeout, or say with --ready how a start can be seen"
        if self.exercise:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.exercise, signal.SIGKILL)
            outcome.failed_output = _contents(self.exercise_file)
        self._stop()
        self.deadline = monotonic() + 2

    def _roots(self) -> list[int]:
        """The target while it lives, else the processes that it left to the init (children of it, proc(5))."""
        assert self.started is not None
        if self.outcome.status is None:
            return [self.started.target]
        init = self.started.init
        try:
            with open(f"/proc/{init}/task/{init}/children", encoding="ascii") as stream:
                return [int(word) for word in stream.read().split()]
        except OSError:
            return []

    # --- the end ---------------------------------------------------------------------------------------------

    def _kill_all(self) -> None:
        assert self.started is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.started.init, signal.SIGKILL)  # the pid namespace goes with its first process

    def _end_all(self) -> None:
        if self.exercise:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.exercise, signal.SIGKILL)
        if self.started is not None and not self.over:
            self._kill_all()
            limit = monotonic() + 10
            while not self.over and monotonic() < limit:
                try:
                    stop = ptrace.wait_stop(block=False)
                except ChildProcessError:
                    break
                if stop is None:
                    signal.sigtimedwait({signal.SIGCHLD}, 0.05)
                elif stop.kind is ptrace.StopKind.ENDED:
                    self.ended(stop.thread, stop.status)
                else:
                    with contextlib.suppress(ptrace.ThreadGone, OSError):
                        ptrace.resume(stop.thread)
        if self.exercise:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.exercise, 0)
        if self.started is not None:
            self.started.channel.close()

    def _follow_output(self, now: float) -> None:
        self.outcome.processes = max(self.outcome.processes, len(self.processes))
        if self.launch.terminal:
            return  # a status line would be written over what the user and the target say to each other
        if self.files[0] >= 0:
            sizes = [os.fstat(fd).st_size for fd in self.files]
            if sum(sizes) > _MOST_OUTPUT:
                limit = f"{_MOST_OUTPUT >> 20} MiB"
                raise IncompleteError(f"the target wrote more than {limit} to its output", "send its output to a file")
            if sizes[0] > self.shown:
                self.show.output(os.pread(self.files[0], sizes[0] - self.shown, self.shown))
                self.shown = sizes[0]
        if now >= self.next_status:
            self.next_status = now + _STATUS
            self._say_status()

    def _say_status(self) -> None:
        ledger = self.answers.supply.ledger
        phase = {"start": "waits until it is ready" if self.drive.exercises else "runs"}.get(
            self.outcome.phase, self.outcome.phase
        )
        size = sum(entry.size for entry in ledger.entries.values())
        self.show.status(
            f"{self.drive.label}: {len(self.processes)} processes, {self.answers.answered} misses answered, "
            f"{len(ledger.entries)} entries, {size / 1e6:.1f} MB, {phase}"
        )

    def _read_output(self) -> None:
        self.outcome.output, self.outcome.errors = _contents(self.files[0]), _contents(self.files[1])
        if len(self.outcome.output) > self.shown:
            self.show.output(self.outcome.output[self.shown :])
        for fd in self.files:
            os.close(fd)


def _take_terminal_back(terminal: int) -> None:
    """The target was the foreground job; now it is this process again (tcsetpgrp(3), from the background)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    with contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, os.getpgrp())
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _with_standard(launch: Launch, standard: tuple[int, int, int]) -> Launch:
    return replace(launch, standard=standard)


def _output_file(name: str) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.fchmod(fd, 0o666)  # a target that has dropped its user id may open it again
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


def _contents(fd: int) -> bytes:
    return os.pread(fd, _MOST_OUTPUT, 0)
