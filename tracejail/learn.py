"""The use case `learn`: run the target in trials until a jail made from the manifest alone runs clean.

Long because: it is the outer loop, told in one place from the first run to the installed jail.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tracejail.assemble import Keep, Shape, assemble, names_of, packages_of, same_in_both, with_packages
from tracejail.contents import contents_of, put_bells, times_of, with_digests, with_hard_links
from tracejail.engines import chosen
from tracejail.errors import InputOutputError, SourceChangedError
from tracejail.fewest import fewest
from tracejail.guessed import completed, proven
from tracejail.jail.build import populate
from tracejail.jail.remove import remove_tree
from tracejail.jail.staging import Staging, install, staging
from tracejail.jail.tree import open_tree
from tracejail.kernel.processes import closed_elsewhere
from tracejail.learner import ESCALATION, Learner, Proof, learner, run_once, verify_in
from tracejail.manifest import read_manifest, write_manifest
from tracejail.model import Accounts, Command, Content, Entry, EntryType, LearnResult, Manifest, Origin, TrialOptions
from tracejail.replaceable import check_replaceable
from tracejail.resolve.accounts import account_names, words_of
from tracejail.resolve.modules import of_account_modules
from tracejail.result import ended, result_of, why_not
from tracejail.show import Show
from tracejail.trace.engine import Engine
from tracejail.trial.answers import Answers, Manner
from tracejail.trial.ledger import Ledger
from tracejail.trial.outcome import Outcome, as_expected, ended_words
from tracejail.trial.stand_ins import stand_ins
from tracejail.trial.supply import Supply
from tracejail.trial.target import new_supply, place, rules_of, scratch_tree
from tracejail.trial.walk import Place, parent_of

_CHANGES = 20  # of sources while a jail is built, before it is given up


@dataclass(slots=True)
class Learned:
    """What the learning runs came to."""

    outcome: Outcome
    ledger: Ledger
    mounts: frozenset[str]
    listed: dict[str, int]
    lines: tuple[str, ...]


def learn(options: TrialOptions, show: Show) -> LearnResult:
    """Learn a jail for a program, build it, prove it, and put it and its manifest in their places.

    Raises TracejailError; a target that ends badly is no error but a result that is not clean.
    """
    with chosen(options.engine, show) as engine:
        return _learn(options, show, engine)


def _learn(options: TrialOptions, show: Show, engine: Engine) -> LearnResult:
    began = time.monotonic()
    work = learner(options, show, engine)
    jail = os.path.abspath(options.jail or os.path.basename(work.program) + ".jail")
    manifest_path = os.path.abspath(options.manifest or jail + ".json")
    former = _former(jail, manifest_path, options)
    with staging(jail) as stage:
        learned = _learn_with_least_mounts(work)
        packages = packages_of(work.host, learned.ledger.entries)
        manifest, proof, reason, hint = _prove(work, learned, stage, jail, former)
        manifest = with_packages(work.host, manifest, packages())
        kept = _install(stage, jail, manifest, manifest_path, options)
    if kept:
        work.notes[kept] = None
    return _result(work, learned, proof, manifest, manifest_path, reason, hint, time.monotonic() - began)


def _former(jail: str, manifest_path: str, options: TrialOptions) -> Manifest | None:
    if os.path.lexists(jail) and (os.path.islink(jail) or not os.path.isdir(jail)):
        raise InputOutputError(f"{jail}: is not a directory", "name another place for the jail with -j")
    check_replaceable(jail, manifest_path, options.replace or options.append)
    if options.append:
        return read_manifest(manifest_path)
    if not os.path.isdir(os.path.dirname(manifest_path)):
        raise InputOutputError(f"{os.path.dirname(manifest_path)}: no such directory", "make it, or name another with -m")
    if os.path.isdir(manifest_path):
        raise InputOutputError(f"{manifest_path}: is a directory", "name another file for the manifest with -m")
    return None


# --- learning -----------------------------------------------------------------------------------------------------


def _learn_with_least_mounts(work: Learner) -> Learned:
    """Learn without virtual file systems; only where that ends badly, with those that the target asked for. A time-out is
    paid once more at most: at a start, where the target may wait for what it lacks, with all of them at once."""
    mounts = frozenset(work.options.mounts)
    first = learned = _learn_once(work, mounts)
    for name in ESCALATION:
        outcome = learned.outcome
        if as_expected(outcome, work.options.expect):
            return learned
        asked = {note.reason for note in learned.ledger.virtual.values()} - mounts
        if outcome.timed_out and (learned is not first or not outcome.failed_in.endswith("start")):
            if asked and learned is first:
                work.notes[f"it asked for {' and '.join(sorted(asked))} too: with --mount, if that is what it waits for"] = None
            break
        if name in asked:
            more = asked if outcome.timed_out else {name}
            mounts |= more
            work.show.say(f"it {ended_words(outcome)} without {' and '.join(sorted(more))}: once more with it")
            learned = _learn_once(work, mounts)
    return learned if as_expected(learned.outcome, work.options.expect) else first


def _learn_once(work: Learner, mounts: frozenset[str]) -> Learned:
    return _collect(work, mounts) if work.options.restart else _answer_in_place(work, mounts)


def _answer_in_place(work: Learner, mounts: frozenset[str]) -> Learned:
    session = work.engine.session
    with contextlib.ExitStack() as stack:
        tree = stack.enter_context(scratch_tree())
        watch = stack.enter_context(stand_ins(tree, session)) if session else None
        supply = new_supply(work.host, tree, rules_of(work.options, mounts), watch)
        place(supply, work.program, work.options)
        answers = Answers(supply, Manner.LEARN, work.show.say)
        outcome = run_once(work, tree.fd, mounts, answers, "learning")
        supply.note_silent_uses()
        with closed_elsewhere():
            stack.close()
        return _learned(work, outcome, supply, mounts, tuple(supply.ledger.lines))


def _collect(work: Learner, mounts: frozenset[str]) -> Learned:
    """The classical loop: collect the misses, copy, start again; the last run's needs are the manifest's."""
    lines: dict[str, None] = {}
    entries: dict[str, Entry] = {}
    saved: set[str] = set()
    for _ in range(work.options.max_rounds):
        with scratch_tree() as tree:
            supply = new_supply(work.host, tree, rules_of(work.options, mounts))
            # What is made for the jail is the host's whole one while it is learned.
            whole = with_hard_links(work.host, [replace(entry, content=Content.HOST) for entry in entries.values()])
            populate(tree, whole, contents_of(work.host, (), Accounts(everything=True)), times_of(work.host))
            put_bells(work.host, entries.values(), tree, whole=True)
            supply.supplied.update(entries)
            supply.saved = saved
            place(supply, work.program, work.options)
            answers = Answers(supply, Manner.COLLECT, work.show.say)
            outcome = run_once(work, tree.fd, mounts, answers, "collecting")
            lines.update(supply.ledger.lines)
            used = dict(supply.ledger.entries)
            came = answers.bring_pending()
            if not came:
                return _learned(work, outcome, supply, mounts, tuple(lines))
            fresh = [path for path in supply.ledger.entries if path not in entries and path not in used]
            _bring_closure(work, supply, fresh)
            for path, entry in {**used, **supply.ledger.entries}.items():
                entries.setdefault(path, entry)
    work.notes[f"stopped after {work.options.max_rounds} rounds (--max-rounds)"] = None
    return _learned(work, outcome, supply, mounts, tuple(lines))


def _bring_closure(work: Learner, supply: Supply, paths: list[str]) -> None:
    """What the files at `paths` say that they need comes along, to save rounds; what of it is not used in the last
    round does not stay."""
    from tracejail.deps import closure_of  # --restart only: it reads ELF files through a library that is slow to import

    files = [path for path in paths if supply.ledger.entries[path].type is EntryType.FILE]
    for row in closure_of(work.host, files):
        # Interpreters are left to be missed: that is a kind of its own, which the report shows.
        wanted = row.found and row.how == "elf-needed"
        found = supply.resolve("/", "/", row.path, follow=True) if wanted else None
        if found is not None and found.place is Place.FOUND and not supply.refusal(found):
            if supply.bring(found):
                supply.saved.add(found.path)
            supply.note(found, Origin.ELF_NEEDED, None, None, via=row.needed_by)


def _learned(
    work: Learner, outcome: Outcome, supply: Supply, mounts: frozenset[str], lines: tuple[str, ...]
) -> Learned:
    work.notes.update(outcome.notes)
    work.notes.update(supply.warnings)
    unused = {path for path in supply.supplied if path not in supply.ledger.entries}
    listed = dict.fromkeys(sorted({parent_of(path) for path in unused}), 0)
    return Learned(outcome, supply.ledger, mounts, listed, lines)


# --- proving ------------------------------------------------------------------------------------------------------


def _prove(
    work: Learner, learned: Learned, stage: Staging, jail: str, former: Manifest | None
) -> tuple[Manifest, Proof | None, str, str]:
    """Build the jail from the manifest and run the target in it with no answers, until a run is clean.

    Gives the manifest, the last proving run, and why it is not clean (and what to do) or "".
    """
    options = work.options
    keep = Keep.ALL if options.accounts == "all" else Keep.USED
    widest = keep is Keep.ALL
    names: set[str] = set()   # of accounts that its output shows, or that it may have asked for
    guessed: set[str] = set()
    all_names = list(learned.listed) if options.listing in ("names", "all") else []
    if not as_expected(learned.outcome, options.expect):
        manifest = _manifest(work, learned, jail, keep, all_names, former)
        manifest = _build(work, manifest, stage)
        return manifest, None, *why_not(learned.outcome, learned.ledger, options, work.unreachable)
    whole, lean = learned, _without_account_modules(work, learned)
    learned = lean
    for _ in range(options.max_rounds):
        manifest = _manifest(work, learned, jail, keep, all_names, former, names)
        manifest = _build(work, manifest, stage)
        proof = _verify_run(work, manifest, stage)
        manifest = same_in_both(manifest, proof.ledger, proof.outcome)
        expected = as_expected(proof.outcome, options.expect)
        wanted = _wanted(learned, proof, manifest) - names
        if wanted:
            guessed |= wanted
            names |= wanted
            continue
        if expected and not proof.ledger.missing:
            if not all_names and learned.listed and _differs(learned.outcome, proof.outcome):
                manifest, proof = _with_names(work, learned, stage, jail, keep, former, manifest, proof, names)
            printed = _printed_accounts(work, learned.outcome, proof.outcome, manifest)
            if printed - names:
                names |= printed
                continue
            settled = widest or manifest.accounts.everything or not _asks_in_vain(learned, proof)
            if settled and (learned is whole or _became_the_same(learned.outcome, proof.outcome)):
                if keep is not Keep.USED and options.accounts != "all" and former is not None:
                    work.notes[f"with fewer accounts it went otherwise: the jail has {keep.value}"] = None
                elif (keep is not Keep.USED or len(guessed) > 1) and options.accounts != "all":
                    least = names - guessed
                    manifest, proof = _with_fewest_accounts(work, learned, stage, jail, all_names, least, manifest, proof)
                return replace(proven(manifest), written=proof.written), proof, "", ""
        if learned is not whole:
            learned = whole  # is it for the modules that were left out?
            continue
        if not widest and not manifest.accounts.everything:
            learned = lean
            # An account that is not found shows as a look-up elsewhere, or as an early end: try more of them first.
            keep = Keep.NAMED if keep is Keep.USED else Keep.ALL
            widest = keep is Keep.ALL
            continue
        keep = Keep.ALL if options.accounts == "all" else Keep.USED
        widest = keep is Keep.ALL
        lean = learned
        if _grew(learned, proof):
            continue
        if expected or all_names or not learned.listed:
            break
        all_names = list(learned.listed)
        work.notes["with the used names of its directories only it ended otherwise: all names are in the jail"] = None
    if proof.ledger.missing:
        return manifest, proof, "the last run still missed what the host has", "run it with -v to see each miss"
    reason = f"it {ended_words(learned.outcome)} while it was learned, but {ended(proof.outcome)} in its jail"
    return manifest, proof, reason, "run it with -v to see each miss, or try --listing names"


def _with_names(
    work: Learner, learned: Learned, stage: Staging, jail: str, keep: Keep, former: Manifest | None,
    manifest: Manifest, proof: Proof, accounts: set[str],
) -> tuple[Manifest, Proof]:
    """The output changed and names that were listed are not in the jail: try whether they are the reason."""
    text = learned.outcome.output + learned.outcome.exercise_output
    now = proof.outcome.output + proof.outcome.exercise_output
    printed = [
        directory for directory in learned.listed
        if any(_says(text, name) and not _says(now, name) for name in _unused_names(work, manifest, directory))
    ]
    fuller = _manifest(work, learned, jail, keep, printed or list(learned.listed), former, accounts)
    fuller = _build(work, fuller, stage)
    again = _verify_run(work, fuller, stage)
    if not _differs(learned.outcome, again.outcome) and not again.ledger.missing:
        work.notes["its output shows names of directories that it only lists: these names are in the jail"] = None
        return same_in_both(fuller, again.ledger, again.outcome), again
    return _build(work, manifest, stage), proof


def _printed_accounts(work: Learner, first: Outcome, second: Outcome, manifest: Manifest) -> set[str]:
    """Accounts that the learning run printed and the proving run did not: looked up by number, and left out."""
    if manifest.accounts.everything or not _differs(first, second):
        return set()
    before, after = (words_of(run.output + run.exercise_output) for run in (first, second))
    left_out = account_names(work.host) - {*manifest.accounts.users, *manifest.accounts.groups}
    return left_out & (before - after)


def _without_account_modules(work: Learner, learned: Learned) -> Learned:
    """What was learned without the modules that know accounts beside those of files, as most of them ask a daemon that a
    jail has no socket of: whether they answered anything shows in a run without them."""
    spare = of_account_modules(work.host, learned.ledger.entries) if work.options.accounts != "all" else frozenset()
    if not spare:
        return learned
    entries = {path: entry for path, entry in learned.ledger.entries.items() if path not in spare}
    return replace(learned, ledger=replace(learned.ledger, entries=entries))


def _became_the_same(first: Outcome, second: Outcome) -> bool:
    """Whether two runs took on the same users, and gave themselves and their files the same groups."""
    return (first.became, first.groups) == (second.became, second.groups)


def _asks_in_vain(learned: Learned, proof: Proof) -> bool:
    """Whether an account that was found while it was learned is not now; by which name or number it was is not known."""
    return not proof.ledger.unknown <= learned.ledger.unknown


def _wanted(learned: Learned, proof: Proof, manifest: Manifest) -> set[str]:
    """Accounts that may be the ones which are asked for in vain, and that the jail does not have."""
    if manifest.accounts.everything or not _asks_in_vain(learned, proof):
        return set()
    kept = {"passwd": manifest.accounts.users, "group": manifest.accounts.groups}
    return {name for database, name in proof.ledger.wanted if name not in kept[database]}


def _with_fewest_accounts(
    work: Learner, learned: Learned, stage: Staging, jail: str, all_names: list[str], names: set[str], manifest: Manifest,
    proof: Proof,
) -> tuple[Manifest, Proof]:
    """It needs accounts whose ids were not seen: find by trying which of those that the manifest keeps."""
    limit = time.monotonic() + work.options.timeout
    best = manifest, proof
    built = manifest
    known = manifest.accounts
    same = not _differs(learned.outcome, proof.outcome)
    kept = account_names(work.host) if known.everything else {*known.users, *known.groups}

    def enough(tried: frozenset[str]) -> bool:
        nonlocal best, built
        if time.monotonic() > limit:
            return False
        built = _build(work, _manifest(work, learned, jail, Keep.USED, all_names, None, names | tried), stage)
        again = _verify_run(work, built, stage)
        built = same_in_both(built, again.ledger, again.outcome)
        right = (
            as_expected(again.outcome, work.options.expect) and not again.ledger.missing
            and not _asks_in_vain(learned, again) and not _printed_accounts(work, learned.outcome, again.outcome, built)
            and _became_the_same(learned.outcome, again.outcome)
            and not (same and _differs(learned.outcome, again.outcome))
        )
        if right:
            best = built, again
        return right

    least = _manifest(work, learned, jail, Keep.USED, all_names, None, names).accounts
    fewest(sorted(kept - {*least.users, *least.groups}), enough)
    manifest, proof = best
    if manifest is not built:
        manifest = _build(work, manifest, stage)
    if time.monotonic() > limit:
        work.notes["with fewer accounts it went otherwise; there was no time to find out which it needs"] = None
    return manifest, proof


def _unused_names(work: Learner, manifest: Manifest, directory: str) -> list[str]:
    known = [entry.path for entry in manifest.entries]
    return [os.path.basename(entry.path) for entry in names_of(work.host, [directory], known)]


def _says(text: bytes, name: str) -> bool:
    return os.fsencode(name) in text


def _differs(first: Outcome, second: Outcome) -> bool:
    """Whether two runs said something else; the order of lines does not count, as that of a directory is no promise."""
    return any(
        sorted(one.splitlines()) != sorted(other.splitlines())
        for one, other in ((first.output, second.output), (first.exercise_output, second.exercise_output))
    )


def _manifest(
    work: Learner, learned: Learned, jail: str, keep: Keep, named: list[str], former: Manifest | None,
    accounts: Iterable[str] = (),
) -> Manifest:
    options = work.options
    command = Command(
        argv=(work.program, *options.argv[1:]),
        directory=options.directory,
        user=options.user,
        uid=work.user.uid,
        gid=work.user.gid,
        groups=work.user.groups,
        environment=tuple(sorted(key for key, _ in options.environment)),
        exercises=options.exercises,
        ready=options.ready,
        reload=options.reload,
        reopen=options.reopen,
        again=options.again,
        stop=options.stop,
        expect=options.expect,
        network=options.network,
        service=options.service,
    )
    shape = Shape(
        command, jail, tuple(learned.mounts), keep, frozenset((work.user.uid,)),
        frozenset((work.user.gid, *work.user.groups)), frozenset(accounts),
    )
    entries = names_of(work.host, named, learned.ledger.entries) if named else []
    manifest = assemble(work.host, learned.ledger, learned.outcome, shape, entries)
    if former is None:
        return manifest
    both = completed(former, manifest, work.host)
    return replace(both, entries=tuple(with_digests(work.host, list(both.entries), both.accounts)))


def _build(work: Learner, manifest: Manifest, stage: Staging) -> Manifest:
    """The jail in the staging directory; gives the manifest of it. A file that changes on the host meanwhile, as a log
    does, is taken as it is now."""
    for _ in range(_CHANGES):
        try:
            _build_once(work, manifest, stage)
            return manifest
        except SourceChangedError as error:
            entries = [replace(entry, sha256="") if entry.path == error.path else entry for entry in manifest.entries]
            done = with_digests(work.host, entries, manifest.accounts)
            manifest = replace(manifest, entries=tuple(done))
    _build_once(work, manifest, stage)
    return manifest


def _build_once(work: Learner, manifest: Manifest, stage: Staging) -> None:
    remove_tree(stage.fd, "root")
    os.mkdir("root", 0o755, dir_fd=stage.fd)
    fd = os.open("root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=stage.fd)
    try:
        os.fchmod(fd, 0o755)
        contents = contents_of(work.host, manifest.entries, manifest.accounts)
        populate(open_tree(fd, manifest.jail), manifest.entries, contents, times_of(work.host))
    finally:
        os.close(fd)


def _verify_run(work: Learner, manifest: Manifest, stage: Staging) -> Proof:
    lower = os.open("root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=stage.fd)
    try:
        return verify_in(work, manifest, lower, bring=True)
    finally:
        os.close(lower)


def _grew(learned: Learned, proof: Proof) -> bool:
    """Add what a proving run missed to the learned entries; whether anything is new."""
    new = {path: entry for path, entry in proof.ledger.entries.items() if path not in learned.ledger.entries}
    learned.ledger.entries.update(new)
    return bool(new)


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
    write_manifest(manifest, manifest_path, stage.fd)
    return ""


def _result(
    work: Learner, learned: Learned, proof: Proof | None, manifest: Manifest, manifest_path: str, reason: str,
    hint: str, seconds: float,
) -> LearnResult:
    outcome = proof.outcome if proof else learned.outcome
    return result_of(work, outcome, proof.ledger if proof else learned.ledger, manifest, manifest_path, reason, hint,
                     seconds, learned.lines)


