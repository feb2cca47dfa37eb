"""One run: a stage, a target on it that is traced through its phases, and how it went."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from dataclasses import replace
from time import monotonic

from tracejail.errors import IncompleteError
from tracejail.jail.enter import Launch, Stage, Started, set_stage, start
from tracejail.kernel import ptrace
from tracejail.kernel.processes import adopt_orphans, children, inner_id
from tracejail.kernel.sockets import is_datagram
from tracejail.kernel.waiting import blocked
from tracejail.model import Step, SyscallRecord, Want
from tracejail.show import Show
from tracejail.trace.engine import Answer, Engine, Hooks
from tracejail.trace.misses import absolute
from tracejail.trace.tracer import trace

from .answers import Answers
from .exercise import Exercise
from .leash import Leash
from .listeners import Listeners
from .members import Members
from .outcome import Outcome, as_expected, exit_status
from .output import MOST, contents, is_full, output_file
from .phases import Drive, TimedOut, Waits, phases
from .pretence import CHOWNS, SETS_GROUP, SETS_USER, ids_of, is_needed, note
from .privileges import of_call
from .quiet import Quiet
from .sockets import open_sockets
from .target import bind_from_now_on
from .terminal import take_terminal_back
from .witness import Witness

_STATUS = 0.2          # seconds between two status lines
_ENDING = 10.0         # seconds that the end of all processes may take
_LOOK = 0.002          # seconds between two looks while something is waited for
BLOCKED = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def run(
    stage: Stage, launch: Launch, step: Callable[[Step], Launch], drive: Drive, engine: Engine, answers: Answers, show: Show,
    witness: Witness | None = None,
) -> Outcome:
    """Run the target through its phases and return when its last process has ended. `step` says how a step is launched.

    Raises KernelLacksError, InputOutputError (a tree that is full, a source that changes), Interrupted.
    Whatever happens, no process of the target is left.
    """
    with blocked(BLOCKED):
        return Run(stage, launch, step, drive, engine, answers, show, witness).go()


class Run:
    """What the hooks of the tracer and the phases have in common: the target's processes and what they did."""

    def __init__(
        self, stage: Stage, launch: Launch, step: Callable[[Step], Launch], drive: Drive, engine: Engine, answers: Answers,
        show: Show, witness: Witness | None = None,
    ) -> None:
        self.witness = witness
        self.stage, self.launch, self.step, self.drive = stage, launch, step, drive
        self.engine, self.answers, self.show = engine, answers, show
        self.outcome = Outcome()
        self.listeners = Listeners(answers.supply.tree)
        answers.serve_log = self.listeners.serve_log
        self.quiet = Quiet()
        self.members = Members(answers.supply.tree, launch.argv, drive.service.pid_file)
        self.started: Started | None = None
        self.steps: dict[int, Started] = {}
        self.step_ended: dict[int, int] = {}
        self.newcomers: list[int] = []
        self.began = self.last_stop = monotonic()
        self.main_ended = 0.0
        self.listening = False
        self.exercise: Exercise | None = None
        self.leash: Leash | None = None
        self.condition: Exercise | None = None   # a call of --ready command:
        self.next_look = 0.0                     # at --ready
        self.detail = ""                         # of the phase, for the status line
        self.waits = ""                          # what would be missing if the time were over now
        self.others: set[int] = set()            # children of this process that are not of this run
        self.script: Waits | None = None
        self.next_status = 0.0
        self.shown = 0
        self.files = (-1, -1)

    def go(self) -> Outcome:
        """From the empty stage to the end."""
        if not self.launch.terminal:
            self.files = (output_file("stdout"), output_file("stderr"))
            self.launch = replace(self.launch, standard=(self.launch.standard[0], *self.files))
        # What an exercise leaves in the background is found, and ended, as a child of this process.
        self.others = set(children(os.getpid()))
        adopt_orphans(True)
        try:
            self.members.init = set_stage(self.stage)
            bind_from_now_on(self.answers.supply.tree, self.members.init)
            self.listeners.open(self.members.init, self.stage.private_network)
            self.leash = Leash(self.members.init, self.stage.private_network)
            self.script = phases(self)
            hooks = Hooks(
                enter=self.enter, finish=self.finish, used=self.used, event=self.event, started=self.born,
                ended=self.ended, idle=self.idle, pretend=self.pretend, newcomers=self.newcomers,
                sources={**self.answers.sources(), **self.listeners.sources(), **self.leash.sources()},
                heard=lambda record: self.witness.call(record, self.outcome.phase) if self.witness else None,
            )
            # There is no shell that would continue a target which the terminal has stopped.
            trace(self.engine, hooks, frozenset({signal.SIGTSTP}) if self.launch.terminal else frozenset())
            self.listeners.drain()
        finally:
            self._end_all()
            adopt_orphans(False)
            if self.leash:
                self.leash.close()
            if self.launch.terminal:
                take_terminal_back(self.launch.standard[0])
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
        self._heed_pid_file(record)
        if record.syscall in CHOWNS:
            self._know_ids(record)
        self.outcome.capabilities.update(of_call(record))
        return self.answers.enter(record)

    def finish(self, record: SyscallRecord) -> Answer:
        """Of the tracer: a call has failed, or its result is wanted."""
        self.last_stop = monotonic()
        self._heed_pid_file(record)
        if record.syscall in CHOWNS and self.pretend(record):
            return Answer.PRETEND
        return self.answers.finish(record)

    def _heed_pid_file(self, record: SyscallRecord) -> None:
        if record.arguments and record.arguments[-1].want is Want.CREATE:
            self.members.writes(absolute(record.arguments[-1]))

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
        self.members.add(process)

    def event(self, record: SyscallRecord) -> None:
        """Of the tracer: a call without a path."""
        self.last_stop, name = monotonic(), record.syscall
        self.outcome.capabilities.update(of_call(record))
        if name == "listen":
            self.listening = True
        elif name == "setgroups":
            self.answers.forget_user(record.process)
            self.outcome.groups.update(record.words)
        elif name in SETS_USER or name in SETS_GROUP:
            self.answers.forget_user(record.process)
            users, groups = ids_of(record)
            self.outcome.became.update(users)
            self.outcome.groups.update(groups)
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
        self.outcome.opaque, self.outcome.notes["opaque: " + note] = True, None

    def _listens(self, record: SyscallRecord) -> None:
        """A socket gets an address. One that takes connections listens once listen(2) is called, others do now."""
        address = record.address.removeprefix("inet:")
        names = [f"unix:{argument.spelled}" for argument in record.arguments]
        if record.address.startswith("inet:") and not address.endswith(":0"):
            names.append(address)
        elif record.address.startswith("unix-abstract:") and len(record.address) > len("unix-abstract:"):
            names.append(record.address)
        for name in names:
            self.outcome.listens[name] = None
        if names and len(record.words) > 2 and is_datagram(record.process, record.words[0]):
            self.listening = True

    def ended(self, process: int, status: int) -> None:
        """Of the tracer: a process has ended, of the target or another child of ours."""
        if self.witness and process in self.members.all:
            self.witness.ended(process, status)
        self.members.remove(process)
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
        elif self.leash is not None and process == self.leash.process:
            self.leash.lost()
        elif process == self.members.init:
            self.members.init = 0

    def idle(self) -> float | None:
        """Of the tracer, between two stops: does what the clock and the phase ask for; None when all is over."""
        now = monotonic()
        ledger = self.answers.supply.ledger
        self.members.told = self.listeners.main_process
        # What is asked for again and again is no news: the target is quiet all the same.
        self.quiet.hear((len(self.answers.known), len(ledger.lines), len(ledger.entries), self.members.ever))
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

    def enter_phase(self, phase: str, detail: str = "") -> None:
        """What is seen from now on belongs to this phase."""
        self.outcome.phase = self.answers.supply.ledger.phase = phase
        self.detail = detail

    def begin(self, phase: str) -> None:
        """Before a start."""
        self.enter_phase(phase)
        self.began, self.main_ended, self.listening, self.next_look = monotonic(), 0.0, False, 0.0
        self.listeners.begin()

    def fail(self, reason: str, hint: str) -> None:
        """The run is not as expected; the first reason stays."""
        outcome = self.outcome
        if not outcome.failure:
            # The first start and the first exercises are told by what is said of them; a time-out names its phase itself.
            where = "" if outcome.phase in ("start", "exercise") or outcome.timed_out else f"at the {outcome.phase}: "
            outcome.failure, outcome.hint, outcome.failed_in = where + reason, hint, outcome.phase

    def broke_down(self) -> bool:
        """Whether the target has ended as it should not, with all that it made."""
        ended = self.outcome.status is not None and not self.members.all
        return ended and exit_status(self.outcome.status or 0) != self.drive.expect

    def as_expected(self) -> bool:
        """Whether it went well so far."""
        return as_expected(self.outcome, self.drive.expect)

    def start_target(self) -> Waits:
        """Start it."""
        environment = self.launch.environment
        if self.drive.driven:
            environment = {**environment, "NOTIFY_SOCKET": self.listeners.manager}
        private, supply = self.stage.private_network, self.answers.supply
        with open_sockets(self.drive.service.sockets, self.members.init, private, supply) as given:
            launch = replace(self.launch, environment=environment, sockets=given)
            self.started = yield from self._start(launch)
            self.members.first = self.started.target
        self.listening = self.listening or bool(given)

    def start_step(self, step: Step) -> Generator[None, None, int]:
        """Start a step; gives its process id."""
        launch = replace(self.step(step), standard=self.launch.standard)
        if main := next(iter(self.members.main()), 0):
            words = tuple(word.replace("$MAINPID", str(inner_id(main))) for word in launch.argv)
            launch = replace(launch, argv=words, environment={**launch.environment, "MAINPID": str(inner_id(main))})
        started = yield from self._start(launch)
        self.steps[started.target] = started
        return started.target

    def _start(self, launch: Launch) -> Generator[None, None, Started]:
        started = start(launch, self.members.init)
        if self.witness:
            self.witness.launched(started.target)
        ptrace.seize(started.target)
        self.newcomers.append(started.target)
        while started.target not in self.members.all:  # from then on nothing that it does is lost
            yield
        started.go()
        return started

    def begin_exercise(self, command: str) -> Exercise:
        """Start a shell command of the host's."""
        self.exercise = self._shell(command)
        return self.exercise

    def begin_condition(self, command: str) -> None:
        """The same, for one that asks whether the target is ready."""
        self.condition = self._shell(command)

    def _shell(self, command: str) -> Exercise:
        assert self.leash is not None
        main = next(iter(self.members.main()), 0)
        return Exercise(command, self.members.init, self.outcome.phase, main, self.leash)

    def end_exercise(self) -> bytes:
        """What it said, after its end or to make one."""
        assert self.exercise is not None
        text = self.exercise.end()
        self.exercise = None
        self.outcome.exercise_output += text
        return text

    # --- the end ---------------------------------------------------------------------------------------------

    def _end_all(self) -> None:
        for running in (self.exercise, self.condition):
            if running:
                self.outcome.exercise_output += running.end()
        limit = monotonic() + _ENDING
        while monotonic() < limit:
            # With its first process a pid namespace goes; what is killed may leave children of its own to this process.
            left = set(children(os.getpid())) - self.others
            if not left and not self.members.all:
                break
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
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
        self.outcome.processes = max(self.outcome.processes, len(self.members.all))
        if self.launch.terminal:
            return  # a status line would be written over what the user and the target say to each other
        if self.files[0] >= 0:
            sizes = [os.fstat(fd).st_size for fd in self.files]
            if is_full(*self.files):
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
            phase = f"{phase}, waits until it is ready" if self.drive.driven else f"{phase}, runs"
        elif self.detail:
            phase = f"{phase} {self.detail}"
        size = sum(entry.size for entry in ledger.entries.values())
        self.show.status(
            f"{self.drive.label}: {phase}: {len(self.members.all)} processes, {self.answers.answered} misses answered, "
            f"{len(ledger.entries)} entries, {size / 1e6:.1f} MB"
        )

    def _read_output(self) -> None:
        self.outcome.output, self.outcome.errors = contents(self.files[0]), contents(self.files[1])
        if len(self.outcome.output) > self.shown:
            self.show.output(self.outcome.output[self.shown :])
        for fd in self.files:
            os.close(fd)
