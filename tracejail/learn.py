"""The use case `learn`: run the target in trials until a jail made from the manifest alone runs clean.

Long because: it is the outer loop, told in one place from the first run to the installed jail.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field, replace

from tracejail.assemble import Shape, assemble, caller_environment, names_of, same_in_both
from tracejail.contents import contents_of, times_of, with_digests
from tracejail.errors import InputOutputError, UsageError
from tracejail.jail.build import populate
from tracejail.jail.copy import copy_tree
from tracejail.jail.enter import Launch
from tracejail.jail.staging import Staging, install, staging
from tracejail.jail.tree import open_tree
from tracejail.manifest import merge, read_manifest, write_manifest
from tracejail.model import Accounts, Command, LearnResult, Manifest, PathNote, TrialOptions
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.resolve.policy import harmless
from tracejail.show import Show
from tracejail.trace.seccomp_engine import seccomp_engine
from tracejail.trial import ready
from tracejail.trial.answers import Answers, Manner
from tracejail.trial.ledger import Ledger
from tracejail.trial.outcome import Outcome, as_expected, ended_words
from tracejail.trial.run import Drive, run
from tracejail.trial.supply import Supply
from tracejail.trial.target import (
    MOUNT_TYPES,
    User,
    check_privileges,
    find_identity,
    find_program,
    new_supply,
    place,
    rules_of,
    scratch_tree,
)
from tracejail.trial.walk import parent_of

# Mounts in the order in which they are tried where a run ends badly without them: the least that shows comes first.
_ESCALATION = ("proc", "devpts", "sys")
_TAIL = 20  # lines


@dataclass(slots=True)
class Learner:
    """One learn or verify on its way: the options made definite, and the count of rounds."""

    options: TrialOptions
    host: HostRoot
    program: str
    user: User
    show: Show
    stdin: int
    rounds: int = 0
    notes: dict[str, None] = field(default_factory=dict)

    def launch(self, root: int, mounts: frozenset[str], terminal: bool) -> Launch:
        """How the target is started in a mount."""
        options = self.options
        if self.stdin > 2:
            os.lseek(self.stdin, 0, os.SEEK_SET)
        return Launch(
            argv=(self.program, *options.argv[1:]),
            program=self.program,
            environment=caller_environment(options.environment),
            root=root,
            directory=options.directory,
            uid=self.user.uid,
            gid=self.user.gid,
            groups=self.user.groups,
            private_network=options.network == "private",
            mounts=tuple(MOUNT_TYPES[name] for name in _ESCALATION if name in mounts),
            filter=seccomp_engine().filter,
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
            reload=signal_number(options.reload) if options.reload else 0,
            stop=signal_number(options.stop),
            timeout=options.timeout,
            label=f"round {self.rounds} ({what})",
        )


@dataclass(slots=True)
class Learned:
    """What the learning runs came to."""

    outcome: Outcome
    ledger: Ledger
    mounts: frozenset[str]
    listed: dict[str, int]
    lines: tuple[str, ...]


def signal_number(name: str) -> int:
    """The number of a signal's name, with or without SIG. Raises UsageError."""
    try:
        return int(name) if name.isdigit() else int(signal.Signals["SIG" + name.upper().removeprefix("SIG")])
    except KeyError:
        raise UsageError(f"{name}: not a signal", "see kill -l") from None


def learner(options: TrialOptions, show: Show) -> Learner:
    """Check the options and look up what they name. Raises UsageError, KernelLacksError, InputOutputError."""
    ready.check(options.ready)
    signal_number(options.stop)
    if not options.argv:
        raise UsageError("no program is named", "tracejail learn PROGRAM [ARGUMENT...]")
    host = open_host_root(options.host_root)
    program = find_program(host, options.argv[0])
    check_privileges()
    return Learner(options, host, program, find_identity(host, options.user), show, _standard_input(options.stdin))


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


def learn(options: TrialOptions, show: Show) -> LearnResult:
    """Learn a jail for a program, build it, prove it, and put it and its manifest in their places.

    Raises TracejailError; a target that ends badly is no error but a result that is not clean.
    """
    began = time.monotonic()
    work = learner(options, show)
    jail = os.path.abspath(options.jail or os.path.basename(work.program) + ".jail")
    manifest_path = os.path.abspath(options.manifest or jail + ".json")
    former = _former(jail, manifest_path, options)
    with staging(jail) as stage:
        learned = _learn_with_least_mounts(work)
        manifest, proof, reason, hint = _prove(work, learned, stage, jail, former)
        manifest = replace(manifest, rounds=work.rounds, warnings=tuple(sorted(manifest.warnings)))
        kept = _install(stage, jail, manifest, manifest_path, options)
    if kept:
        work.notes[kept] = None
    return _result(work, learned, proof, manifest, manifest_path, reason, hint, time.monotonic() - began)


def _former(jail: str, manifest_path: str, options: TrialOptions) -> Manifest | None:
    if os.path.lexists(jail) and (os.path.islink(jail) or not os.path.isdir(jail)):
        raise InputOutputError(f"{jail}: is not a directory", "name another place for the jail with -j")
    if options.append:
        return read_manifest(manifest_path)
    if os.path.isdir(jail) and os.listdir(jail) and not options.replace:
        hint = "--replace makes it anew, --append adds to it, -j names another place"
        raise UsageError(f"{jail}: there is something already", hint)
    if os.path.isdir(manifest_path):
        raise InputOutputError(f"{manifest_path}: is a directory", "name another file for the manifest with -m")
    return None


# --- learning -----------------------------------------------------------------------------------------------------


def _learn_with_least_mounts(work: Learner) -> Learned:
    """Learn without virtual file systems; only where that ends badly, with those that the target asked for."""
    mounts = frozenset(work.options.mounts)
    first = learned = _learn_once(work, mounts)
    for name in _ESCALATION:
        if as_expected(learned.outcome, work.options.expect):
            return learned
        asked = {note.reason for note in learned.ledger.virtual.values()}
        if name in asked - mounts:
            mounts |= {name}
            work.show.say(f"it {ended_words(learned.outcome)} without {name}: once more with it")
            learned = _learn_once(work, mounts)
    return learned if as_expected(learned.outcome, work.options.expect) else first


def _learn_once(work: Learner, mounts: frozenset[str]) -> Learned:
    return _collect(work, mounts) if work.options.restart else _answer_in_place(work, mounts)


def _answer_in_place(work: Learner, mounts: frozenset[str]) -> Learned:
    with scratch_tree() as tree:
        supply = new_supply(work.host, tree, rules_of(work.options, mounts))
        place(supply, work.program, work.options)
        answers = Answers(supply, Manner.LEARN, work.show.say)
        outcome = _run(work, tree.fd, mounts, answers, "learning")
        return _learned(work, outcome, supply, mounts, tuple(supply.ledger.lines))


def _collect(work: Learner, mounts: frozenset[str]) -> Learned:
    """The classical loop: collect the misses, copy, start again; the last run's needs are the manifest's."""
    carried: dict[str, object] = {}
    lines: dict[str, None] = {}
    entries = Ledger().entries
    for _ in range(work.options.max_rounds):
        with scratch_tree() as tree:
            supply = new_supply(work.host, tree, rules_of(work.options, mounts))
            populate(tree, entries.values(), contents_of(work.host, (), Accounts(everything=True)), times_of(work.host))
            supply.supplied.update(entries)
            place(supply, work.program, work.options)
            answers = Answers(supply, Manner.COLLECT, work.show.say)
            outcome = _run(work, tree.fd, mounts, answers, "collecting")
            lines.update(supply.ledger.lines)
            used = dict(supply.ledger.entries)
            came = answers.bring_pending()
            if not came:
                return _learned(work, outcome, supply, mounts, tuple(lines))
            for path, entry in {**used, **supply.ledger.entries}.items():
                entries.setdefault(path, entry)
            carried.update(entries)
    work.notes[f"stopped after {work.options.max_rounds} rounds (--max-rounds)"] = None
    return _learned(work, outcome, supply, mounts, tuple(lines))


def _run(work: Learner, root: int, mounts: frozenset[str], answers: Answers, what: str) -> Outcome:
    terminal = work.options.interactive and answers.manner is not Manner.VERIFY
    launch = work.launch(root, mounts, terminal)
    return run(launch, work.drive(what), seccomp_engine(), answers, work.show)


def _learned(
    work: Learner, outcome: Outcome, supply: Supply, mounts: frozenset[str], lines: tuple[str, ...]
) -> Learned:
    work.notes.update(outcome.notes)
    work.notes.update(supply.warnings)
    unused = {path for path in supply.supplied if path not in supply.ledger.entries}
    listed = dict.fromkeys(sorted({parent_of(path) for path in unused}), 0)
    return Learned(outcome, supply.ledger, mounts, listed, lines)


# --- proving ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Proof:
    outcome: Outcome
    ledger: Ledger


def _prove(
    work: Learner, learned: Learned, stage: Staging, jail: str, former: Manifest | None
) -> tuple[Manifest, Proof | None, str, str]:
    """Build the jail from the manifest and run the target in it with no answers, until a run is clean.

    Gives the manifest, the last proving run, and why it is not clean (and what to do) or "".
    """
    options = work.options
    whole_accounts = options.accounts == "all"
    all_names = list(learned.listed) if options.listing in ("names", "all") else []
    if not as_expected(learned.outcome, options.expect):
        manifest = _manifest(work, learned, jail, whole_accounts, all_names, former)
        _build(work, manifest, stage)
        return manifest, None, *_why(learned, options)
    for _ in range(options.max_rounds):
        manifest = _manifest(work, learned, jail, whole_accounts, all_names, former)
        _build(work, manifest, stage)
        proof = _verify_run(work, manifest, stage, learned)
        manifest = same_in_both(manifest, proof.ledger)
        if proof.ledger.missing and _grew(learned, proof):
            continue
        if not as_expected(proof.outcome, options.expect):
            if not whole_accounts and not manifest.accounts.everything:
                whole_accounts = True
                work.notes["with its accounts reduced it ended otherwise: all are in the jail"] = None
                continue
            reason = f"it {ended_words(learned.outcome)} while it was learned, but {_ended(proof.outcome)} in its jail"
            return manifest, proof, reason, "run it with -v to see each miss, or try --listing names"
        if not all_names and _differs(learned.outcome, proof.outcome) and learned.listed:
            manifest, proof = _with_names(work, learned, stage, jail, whole_accounts, former, manifest, proof)
        if proof.ledger.missing:
            reason = "the last run still missed what the host has"
            return manifest, proof, reason, "run it with -v to see each miss"
        return replace(manifest, clean=True), proof, "", ""
    return manifest, proof, f"not clean after {options.max_rounds} rounds", "a larger --max-rounds"


def _with_names(
    work: Learner, learned: Learned, stage: Staging, jail: str, whole: bool, former: Manifest | None,
    manifest: Manifest, proof: Proof,
) -> tuple[Manifest, Proof]:
    """The output changed and names that were listed are not in the jail: try whether they are the reason."""
    text = learned.outcome.output + learned.outcome.exercise_output
    now = proof.outcome.output + proof.outcome.exercise_output
    printed = [
        directory for directory in learned.listed
        if any(_says(text, name) and not _says(now, name) for name in _unused_names(work, manifest, directory))
    ]
    fuller = _manifest(work, learned, jail, whole, printed or list(learned.listed), former)
    _build(work, fuller, stage)
    again = _verify_run(work, fuller, stage, learned)
    if not _differs(learned.outcome, again.outcome) and not again.ledger.missing:
        work.notes["its output shows names of directories that it only lists: these names are in the jail"] = None
        return same_in_both(fuller, again.ledger), again
    _build(work, manifest, stage)
    return manifest, proof


def _unused_names(work: Learner, manifest: Manifest, directory: str) -> list[str]:
    known = [entry.path for entry in manifest.entries]
    return [os.path.basename(entry.path) for entry in names_of(work.host, [directory], known)]


def _says(text: bytes, name: str) -> bool:
    return os.fsencode(name) in text


def _differs(first: Outcome, second: Outcome) -> bool:
    return (first.output, first.exercise_output) != (second.output, second.exercise_output)


def _manifest(
    work: Learner, learned: Learned, jail: str, whole_accounts: bool, named: list[str], former: Manifest | None
) -> Manifest:
    options = work.options
    command = Command(
        argv=(work.program, *options.argv[1:]),
        directory=options.directory,
        user=options.user,
        environment=tuple(sorted(key for key, _ in options.environment)),
        exercises=options.exercises,
        ready=options.ready,
        stop=options.stop,
        expect=options.expect,
        network=options.network,
    )
    shape = Shape(
        command, jail, tuple(learned.mounts), whole_accounts, frozenset((work.user.uid,)),
        frozenset((work.user.gid, *work.user.groups)),
    )
    entries = names_of(work.host, named, learned.ledger.entries) if named else []
    manifest = assemble(work.host, learned.ledger, learned.outcome, shape, entries)
    if former is None:
        return manifest
    both = merge(former, manifest)
    return replace(both, entries=tuple(with_digests(work.host, list(both.entries), both.accounts)))


def _build(work: Learner, manifest: Manifest, stage: Staging) -> None:
    from tracejail.jail.remove import remove_tree

    remove_tree(stage.fd, "root")
    os.mkdir("root", 0o755, dir_fd=stage.fd)
    fd = os.open("root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=stage.fd)
    try:
        os.fchmod(fd, 0o755)
        contents = contents_of(work.host, manifest.entries, manifest.accounts)
        populate(open_tree(fd, manifest.jail), manifest.entries, contents, times_of(work.host))
    finally:
        os.close(fd)


def _verify_run(work: Learner, manifest: Manifest, stage: Staging, learned: Learned | None) -> Proof:
    lower = os.open("root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=stage.fd)
    try:
        return verify_in(work, manifest, lower, learned)
    finally:
        os.close(lower)


def verify_in(work: Learner, manifest: Manifest, lower: int, learned: Learned | None = None) -> Proof:
    """One run in a copy of the tree `lower`, with nothing answered. What it missed is then brought into the ledger of
    `learned`, so that the next round has it.

    A copy, not an overlay: over an overlay a file's device and inode change at the first write or link, and git, for
    one, takes that for a broken disk.
    """
    mounts = frozenset(name for name, row in MOUNT_TYPES.items() if row in {(m.type, m.path) for m in manifest.mounts})
    with scratch_tree() as tree:
        copy_tree(lower, tree)
        supply = new_supply(work.host, tree, rules_of(work.options, mounts))
        answers = Answers(supply, Manner.VERIFY, work.show.say)
        supply.supplied.update({entry.path: entry for entry in manifest.entries})
        outcome = _run(work, tree.fd, mounts, answers, "proving")
        work.notes.update(outcome.notes)
        for address in answers.unreachable:
            work.notes[f"a connect to {address} failed: the network is private (--net host)"] = None
        if learned is not None:
            answers.bring_pending()
        return Proof(outcome, supply.ledger)


def _grew(learned: Learned, proof: Proof) -> bool:
    """Add what a proving run missed to the learned entries; whether anything is new."""
    new = {path: entry for path, entry in proof.ledger.entries.items() if path not in learned.ledger.entries}
    learned.ledger.entries.update(new)
    return bool(new)


# --- the result ---------------------------------------------------------------------------------------------------


def _why(learned: Learned, options: TrialOptions) -> tuple[str, str]:
    outcome, denied = learned.outcome, learned.ledger.denied
    reason = outcome.failure or f"it {ended_words(outcome)}"
    if denied:
        paths = sorted(denied)
        return f"{reason}; the policy denied {paths[0]} ({denied[paths[0]].reason})", f"--allow {paths[0]} lets it in"
    if outcome.hint:
        return reason, outcome.hint
    if not outcome.failure:
        return reason, f"if that is right for this program, say --expect {_status(outcome)}"
    return reason, "see its output below, or call it with -v to see each miss"


def _status(outcome: Outcome) -> int:
    from tracejail.trial.outcome import exit_status

    return exit_status(outcome.status) if outcome.status is not None else 0


def _ended(outcome: Outcome) -> str:
    return outcome.failure or ended_words(outcome)


def _install(stage: Staging, jail: str, manifest: Manifest, manifest_path: str, options: TrialOptions) -> str:
    """Put the jail and the manifest in their places. A jail that was there is not replaced by one that is not clean:
    the reason is given instead."""
    name = os.path.basename(jail)
    there = os.path.isdir(jail)
    if there and os.listdir(jail) and not manifest.clean:
        return f"{jail} is left as it was, since the new one is not clean"
    try:
        install(stage, "root", name, replace=there)
    except FileExistsError:
        raise InputOutputError(f"{jail}: it appeared while this run was on", "call it again with --replace") from None
    write_manifest(manifest, manifest_path)
    return ""


def tail(data: bytes) -> bytes:
    """The last lines."""
    return b"\n".join(data.splitlines()[-_TAIL:])


def _result(
    work: Learner, learned: Learned, proof: Proof | None, manifest: Manifest, manifest_path: str, reason: str,
    hint: str, seconds: float,
) -> LearnResult:
    outcome = proof.outcome if proof else learned.outcome
    return result_of(work, outcome, proof.ledger if proof else learned.ledger, manifest, manifest_path, reason, hint,
                     seconds, learned.lines)


def result_of(
    work: Learner, outcome: Outcome, ledger: Ledger, manifest: Manifest, manifest_path: str, reason: str, hint: str,
    seconds: float, lines: tuple[str, ...],
) -> LearnResult:
    """The result for `cli`, with the exit status of the table."""
    status = 0
    if reason:
        status = 3 if outcome.timed_out else 4 if manifest.denied and not manifest.clean else 1
    shown = [note for note in manifest.absent if not harmless(note.path)]
    folded = tuple(note for note in manifest.absent if harmless(note.path))
    output = tail(outcome.errors) + (b"\n" if outcome.errors and outcome.output else b"") + tail(outcome.output)
    missing: tuple[PathNote, ...] = tuple(ledger.missing[path] for path in sorted(ledger.missing))
    return LearnResult(
        clean=manifest.clean,
        status=status,
        rounds=work.rounds,
        seconds=seconds,
        manifest=replace(manifest, absent=tuple(shown)),
        manifest_path=manifest_path,
        missing=missing if reason else (),
        harmless=folded,
        reason=reason,
        hint=hint,
        ended=f"{os.path.basename(work.program)} {ended_words(outcome)}",
        output=output if reason else b"",
        exercise_output=tail(outcome.failed_output),
        misses=lines,
        notes=tuple(work.notes),
    )
