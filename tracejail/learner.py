"""A learn or verify on its way: the options made definite, how the target is launched, and one run of it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field, replace

from tracejail.contents import put_bells
from tracejail.errors import UsageError
from tracejail.jail.copy import copy_tree
from tracejail.jail.enter import CAPABILITIES, Launch, Stage
from tracejail.kernel.capabilities import NAMES, number_of
from tracejail.model import Manifest, Step, TrialOptions, Written
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.show import Show
from tracejail.trace.engine import Engine
from tracejail.trace.seccomp_engine import seccomp_engine
from tracejail.trial import ready, sockets
from tracejail.trial.answers import Answers, Manner
from tracejail.trial.ledger import Ledger
from tracejail.trial.members import signal_of
from tracejail.trial.outcome import Outcome
from tracejail.trial.phases import Drive
from tracejail.trial.rootless import gain_powers
from tracejail.trial.run import run
from tracejail.trial.supply import REMOVED
from tracejail.trial.target import (
    MOUNT_TYPES,
    User,
    caller_environment,
    devices_of,
    find_identity,
    find_program,
    new_supply,
    rules_of,
    scratch_tree,
)
from tracejail.trial.written import state_of, written

# Mounts in the order in which they are tried where a run ends badly without them: the least that shows comes first.
ESCALATION = ("proc", "devpts", "sys")


@dataclass(slots=True)
class Learner:
    """One learn or verify on its way: the options made definite, and the count of rounds."""

    options: TrialOptions
    host: HostRoot
    program: str
    user: User
    show: Show
    stdin: int
    engine: Engine
    kept: tuple[str, ...] = ()   # capabilities
    rounds: int = 0
    notes: dict[str, None] = field(default_factory=dict)
    unreachable: dict[str, None] = field(default_factory=dict)   # addresses outside the private network

    def engine_for(self, manner: Manner) -> Engine:
        """A collecting run must hear of the calls that succeed, too: they tell what of the tree is used."""
        return self.engine if manner is not Manner.COLLECT else seccomp_engine()

    def stage(self, root: int, mounts: frozenset[str]) -> Stage:
        """Where it is started."""
        types = tuple(MOUNT_TYPES[name] for name in ESCALATION if name in mounts)
        return Stage(root, self.options.network == "private", types)

    def launch(self, terminal: bool, manner: Manner) -> Launch:
        """How the target is started."""
        options = self.options
        if self.stdin > 2:
            os.lseek(self.stdin, 0, os.SEEK_SET)
        return Launch(
            argv=(self.program, *options.argv[1:]),
            program=self.program,
            # A service manager passes nothing on of its own.
            environment=dict(options.environment) if options.service.unit else caller_environment(options.environment),
            directory=options.directory,
            uid=self.user.uid,
            gid=self.user.gid,
            groups=self.user.groups,
            umask=options.service.umask,
            kept=tuple(map(NAMES.index, self.kept)) if self.kept else None,
            filter=self.engine_for(manner).filter,
            standard=(0, 1, 2) if terminal else (self.stdin, 1, 2),
            terminal=terminal,
        )

    def drive(self, what: str) -> Drive:
        """How it is driven; counts the round."""
        self.rounds += 1
        options = self.options
        return Drive(
            exercises=options.exercises,
            ready=options.ready,
            reload=options.reload,
            reopen=options.reopen,
            again=options.again,
            stop=options.stop,
            grace=options.grace,
            timeout=options.timeout,
            expect=options.expect,
            service=options.service,
            label=f"round {self.rounds} ({what})",
        )

    def step(self, launch: Launch, step: Step) -> Launch:
        """How a step is started beside the target: as the target is, but for what it says itself."""
        own = replace(launch, argv=step.argv, program=find_program(self.host, step.argv[0]), terminal=False)
        return replace(own, uid=0, gid=0, groups=(), kept=None) if step.as_root else own


def _check_signal(option: str, name: str) -> None:
    try:
        signal.Signals(signal_of(name))
    except (KeyError, ValueError):
        raise UsageError(f"{option} {name}: not a signal", "see kill -l") from None


def learner(options: TrialOptions, show: Show, engine: Engine, program: str = "") -> Learner:
    """Check the options and look up what they name; the program is looked for on the host where it is not said to be
    elsewhere. Raises UsageError, KernelLacksError, InputOutputError."""
    ready.check(options.ready)
    _check_signal("--stop", options.stop)
    if options.reload and not options.reload.startswith("command:"):
        _check_signal("--reload", options.reload)
    if options.reopen:
        _check_signal("--reopen", options.reopen)
    if not options.timeout:
        raise UsageError("--timeout 0: there would be no time for anything", "leave it out for 60 seconds")
    for address in options.service.sockets:
        sockets.check(address)
    if not options.argv:
        raise UsageError("no program is named", "tracejail learn PROGRAM [ARGUMENT...]")
    host = open_host_root(options.host_root)
    program = program or find_program(host, options.argv[0])
    user = find_identity(host, options.user)
    stdin = _standard_input(options.stdin)
    gain_powers(user.uid, user.gid, options.network == "private", show.say)
    return Learner(options, host, program, user, show, stdin, engine, tuple(map(_capability, options.kept)))


def _capability(word: str) -> str:
    number = number_of(word)
    if number is None or number not in CAPABILITIES:
        why = "no such capability" if number is None else "no trial gives it"
        raise UsageError(f"--keep-cap {word}: {why}", f"one of {' '.join(NAMES[each] for each in sorted(CAPABILITIES))}")
    return NAMES[number]


def _standard_input(source: str) -> int:
    """The target's standard input as a file that can be read again in each round."""
    if not source:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    if source == "-":
        fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
        while chunk := os.read(0, 1 << 16):
            os.write(fd, chunk)
        return fd
    try:
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{source}: {os.strerror(error.errno or 0)}", "name a file that can be read") from None


def run_once(work: Learner, root: int, mounts: frozenset[str], answers: Answers, what: str) -> Outcome:
    terminal = work.options.interactive and answers.manner is not Manner.VERIFY
    engine = work.engine_for(answers.manner)
    answers.misses_only = engine.session is not None
    launch = work.launch(terminal, answers.manner)
    stage = replace(work.stage(root, mounts), devices=devices_of(answers.supply.tree))
    outcome = run(stage, launch, lambda step: work.step(launch, step), work.drive(what), engine, answers, work.show)
    for address in answers.unreachable if stage.private_network else ():
        work.unreachable[address] = None
    return outcome


@dataclass(slots=True)
class Learned:
    """What the learning runs came to."""

    outcome: Outcome
    ledger: Ledger
    mounts: frozenset[str]
    listed: tuple[str, ...]   # directories of which only some of the names that were shown were used
    lines: tuple[str, ...]


@dataclass(slots=True)
class Proof:
    """What a proving run came to."""

    outcome: Outcome
    ledger: Ledger
    written: tuple[Written, ...] = ()


def verify_in(work: Learner, manifest: Manifest, lower: int, bring: bool = False) -> Proof:
    """One run in a copy of the tree `lower`, with nothing answered. What it missed is then brought into the ledger
    of the proof, where the caller wants to have it (`bring`).

    A copy, not an overlay: over an overlay a file's device and inode change at the first write or link, and git, for
    one, takes that for a broken disk.
    """
    mounts = frozenset(name for name, row in MOUNT_TYPES.items() if row in {(m.type, m.path) for m in manifest.mounts})
    with scratch_tree() as tree:
        copy_tree(lower, tree, {entry.path: entry for entry in manifest.entries})
        if bring:
            put_bells(work.host, manifest.entries, tree)
        before = state_of(tree.fd)
        supply = new_supply(work.host, tree, rules_of(work.options, mounts))
        answers = Answers(supply, Manner.VERIFY, work.show.say)
        supply.supplied.update({entry.path: entry for entry in manifest.entries})
        supply.removed.update(note.path for note in manifest.absent if note.reason == REMOVED)
        outcome = run_once(work, tree.fd, mounts, answers, "proving")
        work.notes.update(outcome.notes)
        if bring:
            answers.bring_pending()
        places = written(before, tree.fd)
        if not tree.powers.whole:  # the owners that are seen there are not those that are meant
            places = tuple(
                replace(place, uid=known.uid, gid=known.gid) if (known := supply.supplied.get(place.path)) else place
                for place in places
            )
        return Proof(outcome, supply.ledger, places)
