"""The use case `learn`: run the target in trials, prove a jail made from the manifest alone, and put it in its place."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace

from tracejail.assemble import packages_of, with_packages
from tracejail.attempt import Attempts
from tracejail.contents import contents_of, put_bells, times_of, with_hard_links
from tracejail.engines import chosen
from tracejail.errors import InputOutputError
from tracejail.jail.build import populate
from tracejail.jail.keep import OtherContentError, keep
from tracejail.jail.staging import Staging, install, staging
from tracejail.kernel.processes import closed_elsewhere
from tracejail.kernel.ptrace import syscall_names
from tracejail.learner import ESCALATION, Learned, Learner, Proof, learner, run_once
from tracejail.manifest import write_manifest
from tracejail.model import Accounts, Content, Entry, EntryType, LearnResult, Manifest, Origin, TrialOptions
from tracejail.prove import prove
from tracejail.replaceable import check_manifest_place, check_replaceable, read_former
from tracejail.result import result_of
from tracejail.show import Show
from tracejail.trace.engine import Engine
from tracejail.trial.answers import Answers, Manner
from tracejail.trial.listings import note_silent_uses
from tracejail.trial.outcome import Outcome, as_expected, ended_words
from tracejail.trial.stand_ins import stand_ins
from tracejail.trial.supply import Supply
from tracejail.trial.target import new_supply, place, rules_of, scratch_tree
from tracejail.trial.walk import Place, parent_of

_NAMED = 4   # paths that a note names


def learn(options: TrialOptions, show: Show) -> LearnResult:
    """Learn a jail for a program, build it, prove it, and put it and its manifest in their places.

    Raises TracejailError; a target that ends badly is no error but a result that is not clean.
    """
    with chosen(options.engine, show, note_calls=options.syscalls) as engine:
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
        manifest, proof, reason, hint = prove(Attempts(work, stage, jail, former), learned)
        manifest = _with_calls(work, with_packages(work.host, manifest, packages()), former)
        if former is not None and manifest.clean:
            _keep(work, stage, jail, former, manifest)
        kept = _install(stage, jail, manifest, manifest_path, options)
    if kept:
        work.notes[kept] = None
    return _result(work, learned, proof, manifest, manifest_path, reason, hint, time.monotonic() - began)


def _with_calls(work: Learner, manifest: Manifest, former: Manifest | None) -> Manifest:
    """The manifest with the system calls that were made in all runs, where they were noted."""
    session = work.engine.session
    if session is None or not work.options.syscalls:
        return manifest
    if session.foreign or (former is not None and not former.syscalls):
        what = "a 32-bit program made some of the calls" if session.foreign else "those of earlier runs are not known"
        work.notes[f"the system calls were not noted: {what}"] = None
        return replace(manifest, syscalls=())
    names = syscall_names()
    called = {names.get(number, str(number)) for number in session.called()}
    return replace(manifest, syscalls=tuple(sorted({*called, *(former.syscalls if former else ())})))


def _former(jail: str, manifest_path: str, options: TrialOptions) -> Manifest | None:
    check_replaceable(jail, manifest_path, options.replace or options.append)
    if options.append:
        return read_former(manifest_path)
    check_manifest_place(manifest_path)
    return None


# --- learning -----------------------------------------------------------------------------------------------------


def _learn_with_least_mounts(work: Learner) -> Learned:
    """Learn without virtual file systems; only where that ends badly, with those that the target asked for: each by itself,
    then together. A time-out is paid once more at most: at a start, where the target may wait for what it lacks, with all
    of them at once."""
    given = frozenset(work.options.mounts)
    first = learned = _learn_once(work, given)
    asked: set[str] = set()
    tried = {given}
    while not as_expected(learned.outcome, work.options.expect):
        outcome = learned.outcome
        asked |= {note.reason for note in learned.ledger.virtual.values()} - given
        if outcome.timed_out and (learned is not first or not outcome.failed_in.endswith("start")):
            if asked and learned is first:
                work.notes[f"it asked for {' and '.join(sorted(asked))} too: with --mount, if that is what it waits for"] = None
            return first
        more = next((more for more in _mounts_to_try(asked, outcome.timed_out) if given | more not in tried), None)
        if more is None:
            return first
        work.show.say(f"it {ended_words(outcome)}: once more with {' and '.join(sorted(more))}")
        tried.add(given | more)
        learned = _learn_once(work, given | more)
    return learned


def _mounts_to_try(asked: set[str], at_once: bool) -> list[frozenset[str]]:
    names = [name for name in ESCALATION if name in asked]
    together = [frozenset(names[: count + 1]) for count in range(1, len(names))]
    return [frozenset(names)] if at_once else [*(frozenset((name,)) for name in names), *together]


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
        note_silent_uses(supply)
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
    listed = tuple(sorted({parent_of(path) for path in unused}))
    return Learned(outcome, supply.ledger, mounts, listed, lines)


# --- the end ----------------------------------------------------------------------------------------


def _keep(work: Learner, stage: Staging, jail: str, former: Manifest, manifest: Manifest) -> None:
    """What is in the jail beside what its manifest says stays there: logs, a database, a site. Raises InputOutputError."""
    written = [place.path for place in (*former.written, *manifest.written)]

    def is_written(path: str) -> bool:
        return any(path == place or path.startswith(place.rstrip("/") + "/") for place in written)

    with contextlib.ExitStack() as stack:
        descriptors = []
        for where, directory in ((jail, None), ("root", stage.fd)):
            try:
                descriptors.append(os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory))
            except FileNotFoundError:
                return
            stack.callback(os.close, descriptors[-1])
        try:
            kept = keep(descriptors[0], descriptors[1], {entry.path: entry.sha256 for entry in former.entries}, is_written)
        except OtherContentError as other:
            raise InputOutputError(
                f"{jail}{other.path}: is neither what the jail was built of nor what would be there now; all is left as it was",
                "-j NAME learns a jail beside it; --replace makes this one anew, and that file with it",
            ) from None
        except OSError as error:
            cause = f"{jail}: {error.strerror}: what is in it beside its manifest can't be kept; all is left as it was"
            raise InputOutputError(cause, "-j NAME learns a jail beside it") from None
    if kept:
        more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
        work.notes[f"in the jail beside what its manifest says, and kept: {', '.join(kept[:_NAMED])}{more}"] = None


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
