"""One run: a stage, a target on it that is traced through its phases, and how it went."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from time import monotonic

from tracejail.errors import IncompleteError
from tracejail.jail.enter import Launch, Stage, Started, set_stage, start
from tracejail.jail.tree import find
from tracejail.kernel import ptrace
from tracejail.kernel.processes import children, inner_id
from tracejail.model import Step, SyscallRecord
from tracejail.show import Show
from tracejail.trace.engine import Answer, Engine, Hooks
from tracejail.trace.tracer import trace

from .answers import Answers
from .exercise import Exercise, end_left_behind
from .listeners import Listeners
from .outcome import Outcome, as_expected
from .output import MOST, contents, output_file
from .phases import Drive, TimedOut, Waits, phases, signal_of
from .pretence import CHOWNS, SETS_GROUP, SETS_USER, ids_of, is_needed, note
from .quiet import Quiet
from .sockets import open_sockets
from .target import bind_from_now_on

_STATUS = 0.2          # seconds between two status lines
_LOOK = 0.002          # seconds between two looks while something is waited for
BLOCKED = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def run(
    stage: Stage, launch: Launch, step: Callable[[Step], Launch], drive: Drive, engine: Engine, answers: Answers, show: Show
) -> Outcome:
    """Run the target through its phases and return when its last process has ended. `step` says how a step is launched.

    Raises KernelLacksError, InputOutputError (a tree that is full, a source that changes), Interrupted.
    Whatever happens, no process of the target is left.
    """
    with _signals_blocked():
        return Run(stage, launch, step, drive, engine, answers, show).go()


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Run:
    """What the hooks of the tracer and the phases have in common: the target's processes and what they did."""

    def __init__(
        self, stage: Stage, launch: Launch, step: Callable[[Step], Launch], drive: Drive, engine: Engine, answers: Answers,
        show: Show,
    ) -> None:
        self.stage, self.launch, self.step, self.drive = stage, launch, step, drive
        self.engine, self.answers, self.show = engine, answers, show
        self.outcome = Outcome()
        self.listeners = Listeners(answers.supply.tree)
        answers.serve_log = self.listeners.serve_log
        self.quiet = Quiet()
        self.init = 0
        self.started: Started | None = None
        self.steps: dict[int, Started] = {}
        self.step_ended: dict[int, int] = {}
        self.newcomers: list[int] = []
        self.processes: set[int] = set()
        self.ever = 0                # processes that there were
        self.began = self.last_stop = monotonic()
        self.main_ended = 0.0
        self.listening = False
        self.exercise: Exercise | None = None
        self.sessions: list[int] = []    # of the exercises that there were
        self.script: Waits | None = None
        self.next_status = 0.0
        self.shown = 0
        self.files = (-1, -1)

    def go(self) -> Outcome:
        """From the empty stage to the end."""
        if not self.launch.terminal:
            self.files = (output_file("stdout"), output_file("stderr"))
            self.launch = replace(self.launch, standard=(self.launch.standard[0], *self.files))
        try:
            self.init = set_stage(self.stage)
            bind_from_now_on(self.answers.supply.tree, self.init)
            self.listeners.open(self.init, self.stage.private_network)
            self.script = phases(self)
            hooks = Hooks(
                enter=self.enter, finish=self.finish, used=self.used, event=self.event, started=self.born,
                ended=self.ended, idle=self.idle, pretend=self.pretend, newcomers=self.newcomers,
                sources={**self.answers.sources(), **self.listeners.sources()},
            )
            # There is no shell that would continue a target which the terminal has stopped.
            trace(self.engine, hooks, frozenset({signal.SIGTSTP}) if self.launch.terminal else frozenset())
            self.listeners.drain()
        finally:
            self._end_all()
            if self.launch.terminal:
                _take_terminal_back(self.launch.standard[0])
            if self.files[0] >= 0:
                self._read_output()
            self.outcome.log = self.listeners.log
            self.listeners.close()
        return self.outcome

    # --- hooks -----------------------------------------------------------------------------------------------

    def enter(self, record: SyscallRecord) -> bool:
        """Of the tracer: a call begins."""
        self.last_stop = monotonic()
        if record.syscall == "bind":
            self._listens(record)
        if record.syscall in CHOWNS:
            self._know_ids(record)
        return self.answers.enter(record)

    def finish(self, record: SyscallRecord) -> Answer:
        """Of the tracer: a call has failed, or its result is wanted."""
        self.last_stop = monotonic()
        if record.syscall in CHOWNS and self.pretend(record):
            return Answer.PRETEND
        return self.answers.finish(record)

    def pretend(self, record: SyscallRecord) -> bool:
        """Of the tracer: whether a call is only told to have been made."""
        if not is_needed(record, self.answers.supply.tree.powers):
            return False
        self.outcome.notes[note(record)] = None
        return True

    def used(self, record: SyscallRecord) -> Answer:
        """Of the tracer: a call may have used a stand-in."""
        self.last_stop = monotonic()
        return self.answers.used(record)

    def born(self, process: int) -> None:
        """Of the tracer: a process of the target is there."""
        if process not in self.processes:
            self.processes.add(process)
            self.ever += 1

    def event(self, record: SyscallRecord) -> None:
        """Of the tracer: a call without a path."""
        self.last_stop = monotonic()
        name = record.syscall
        if name == "listen":
            self.listening = True
        elif name == "setgroups":
            self.answers.forget_user(record.process)
            self.outcome.groups.update(record.words)
        elif name in SETS_USER:
            self.answers.forget_user(record.process)
            self.outcome.became.update(ids_of(record)[0])
        elif name in SETS_GROUP:
            self.answers.forget_user(record.process)
            self.outcome.groups.update(ids_of(record)[1])
        elif name == "fchown":
            self._know_ids(record)
        elif name == "ptrace":
            self._opaque(f"{record.program} uses ptrace(2) itself, which a traced program cannot")
        elif name == "seccomp":
            self._opaque(f"{record.program} sets a seccomp filter: calls that it refuses are not seen")
        elif name in ("unshare", "setns"):
            self.answers.known.clear()

    def _know_ids(self, record: SyscallRecord) -> None:
        users, groups = ids_of(record)
        self.outcome.users.update(users)
        self.outcome.groups.update(groups)

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
        """Of the tracer: a process has ended, of the target or another child of ours."""
        self.processes.discard(process)
        self.answers.forget_user(process)  # its id may come again
        if self.started is not None and process == self.started.target:
            self.outcome.status = status
            self.outcome.ended_in = self.outcome.phase
            self.main_ended = monotonic()
            self.outcome.failure = self.outcome.failure or self.started.failure()
        elif process in self.steps:
            self.step_ended[process] = status
            failure = self.steps.pop(process).failure()
            if failure:
                self.outcome.notes[failure] = None
        elif self.exercise is not None and process == self.exercise.process:
            self.exercise.status = status
        elif process == self.init:
            self.init = 0

    def idle(self) -> float | None:
        """Of the tracer, between two stops: does what the clock and the phase ask for; None when all is over."""
        now = monotonic()
        ledger = self.answers.supply.ledger
        # What is asked for again and again is no news: the target is quiet all the same.
        self.quiet.hear((len(self.answers.known), len(ledger.lines), len(ledger.entries), self.ever, self.outcome.phase))
        self._follow_output(now)
        assert self.script is not None
        late = now - self.began > self.drive.timeout and not self.launch.terminal
        try:
            if late and not self.outcome.timed_out and not self.outcome.phase.endswith("stop"):
                self.script.throw(TimedOut())
            else:
                next(self.script)
        except StopIteration:
            return None
        return _LOOK if now - self.last_stop < 1 else 0.1

    # --- for the phases --------------------------------------------------------------------------------------

    def enter_phase(self, phase: str) -> None:
        """What is seen from now on belongs to this phase."""
        self.outcome.phase = self.answers.supply.ledger.phase = phase

    def begin(self, phase: str) -> None:
        """Before a start."""
        self.enter_phase(phase)
        self.began, self.main_ended, self.listening = monotonic(), 0.0, False
        self.listeners.forget_ready()

    def fail(self, reason: str, hint: str) -> None:
        """The run is not as expected; the first reason stays."""
        if not self.outcome.failure:
            where = "" if self.outcome.phase in ("start", "exercise", "reload") else f"{self.outcome.phase}: "
            self.outcome.failure, self.outcome.hint = where + reason, hint

    def as_expected(self) -> bool:
        """Whether it went well so far."""
        return as_expected(self.outcome, self.drive.expect)

    def start_target(self) -> Waits:
        """Start it."""
        environment = self.launch.environment
        if self.drive.exercises or self.drive.service.unit:
            environment = {**environment, "NOTIFY_SOCKET": self.listeners.manager}
        with open_sockets(self.drive.service.sockets, self.init, self.stage.private_network, self.answers.supply.tree) as given:
            launch = replace(self.launch, environment=environment, sockets=given)
            self.started = yield from self._start(launch)
        self.listening = self.listening or bool(given)

    def start_step(self, step: Step) -> Generator[None, None, int]:
        """Start a step; gives its process id."""
        main = next(iter(self.main()), 0)
        launch = self.step(step)
        words = tuple(word.replace("$MAINPID", str(inner_id(main))) if main else word for word in launch.argv)
        started = yield from self._start(replace(launch, argv=words, standard=self.launch.standard))
        self.steps[started.target] = started
        return started.target

    def _start(self, launch: Launch) -> Generator[None, None, Started]:
        started = start(launch, self.init)
        ptrace.seize(started.target)
        self.newcomers.append(started.target)
        while started.target not in self.processes:  # from then on nothing that it does is lost
            yield
        started.go()
        return started

    def begin_exercise(self, command: str) -> Exercise:
        """Start a shell command of the host's."""
        self.exercise = Exercise(command, self.init, self.stage.private_network, self.outcome.phase)
        self.sessions.append(self.exercise.process)
        return self.exercise

    def end_exercise(self) -> bytes:
        """What it said, after its end or to make one."""
        assert self.exercise is not None
        text = self.exercise.end()
        self.exercise = None
        self.outcome.exercise_output += text
        return text

    def main(self) -> list[int]:
        """The target while it lives, else the process that its pid file names, else those that it left to the init."""
        if self.started is None:
            return []
        if self.outcome.status is None:
            return [self.started.target]
        left = self.processes & set(children(self.init))
        named = self._named_by_pid_file() if self.drive.service.pid_file else None
        return [process for process in self.processes if inner_id(process) == named] or sorted(left)

    def _named_by_pid_file(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            found = find(self.answers.supply.tree, self.drive.service.pid_file)
            try:
                if stat.S_ISREG(os.fstat(found).st_mode):
                    with open(f"/proc/self/fd/{found}", encoding="ascii") as stream:
                        return int(stream.read(32).split()[0])
            finally:
                os.close(found)
        return None

    def kill(self, process: int, number: int) -> None:
        """Send a signal to a process of the target."""
        if process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def signal(self, name: str) -> None:
        """Tell the target to end, and what it left to the init; stopped ones too."""
        number = signal_of(name)
        for process in self.main() if self.outcome.status is None else sorted(self.processes & set(children(self.init))):
            self.kill(process, number)
            self.kill(process, signal.SIGCONT)

    def kill_all(self) -> None:
        """SIGKILL for all of its processes."""
        for process in sorted(self.processes):
            self.kill(process, signal.SIGKILL)

    # --- the end ---------------------------------------------------------------------------------------------

    def _end_all(self) -> None:
        if self.exercise:
            self.outcome.exercise_output += self.exercise.end()
        end_left_behind(self.sessions)
        if self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)  # the pid namespace goes with its first process
        limit = monotonic() + 10
        while (self.init or self.processes) and monotonic() < limit:
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

    def _follow_output(self, now: float) -> None:
        self.outcome.processes = max(self.outcome.processes, len(self.processes))
        if self.launch.terminal:
            return  # a status line would be written over what the user and the target say to each other
        if self.files[0] >= 0:
            sizes = [os.fstat(fd).st_size for fd in self.files]
            if sum(sizes) > MOST:
                limit = f"{MOST >> 20} MiB"
                raise IncompleteError(f"the target wrote more than {limit} to its output", "send its output to a file")
            if sizes[0] > self.shown:
                self.show.output(os.pread(self.files[0], sizes[0] - self.shown, self.shown))
                self.shown = sizes[0]
        if now >= self.next_status:
            self.next_status = now + _STATUS
            self._say_status()

    def _say_status(self) -> None:
        ledger = self.answers.supply.ledger
        phase = self.outcome.phase
        if phase.endswith("start"):
            waits = self.drive.exercises or self.drive.ready
            phase = f"{phase}, waits until it is ready" if waits else f"{phase}, runs"
        size = sum(entry.size for entry in ledger.entries.values())
        self.show.status(
            f"{self.drive.label}: {phase}: {len(self.processes)} processes, {self.answers.answered} misses answered, "
            f"{len(ledger.entries)} entries, {size / 1e6:.1f} MB"
        )

    def _read_output(self) -> None:
        self.outcome.output, self.outcome.errors = contents(self.files[0]), contents(self.files[1])
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
