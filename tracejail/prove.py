"""Proving: attempts at a jail until the target runs clean in one, with as few accounts and names in it as will do."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from tracejail.assemble import Keep, names_of
from tracejail.attempt import Attempts, Choice, attempt, build, manifest_of
from tracejail.fewest import fewest
from tracejail.guessed import proven
from tracejail.learner import Learned, Learner, Proof
from tracejail.model import Manifest
from tracejail.resolve.accounts import account_names, words_of
from tracejail.resolve.modules import of_account_modules
from tracejail.result import ended, why_not
from tracejail.trial.outcome import Outcome, as_expected, ended_words
from tracejail.trial.privileges import taken


def prove(attempts: Attempts, learned: Learned) -> tuple[Manifest, Proof | None, str, str]:
    """Attempts until one is clean; the jail of the last one is in the staging directory.

    Gives its manifest, its run, and why it is not clean (and what to do) or "". Raises InputOutputError, KernelLacksError.
    """
    work, former = attempts.work, attempts.former
    options = work.options
    keep = Keep.ALL if options.accounts == "all" else Keep.USED
    widest = keep is Keep.ALL
    names: set[str] = set()   # of accounts that its output shows, or that it may have asked for
    guessed: set[str] = set()
    all_names = list(learned.listed) if options.listing in ("names", "all") else []
    if not as_expected(learned.outcome, options.expect):
        manifest = build(attempts, manifest_of(attempts, learned, Choice(keep, tuple(all_names))))
        return manifest, None, *why_not(learned.outcome, learned.ledger, options, work.unreachable)
    whole, lean = learned, _without_account_modules(work, learned)
    learned = lean
    for _ in range(options.max_rounds):
        choice = Choice(keep, tuple(all_names), frozenset(names))
        manifest, proof = attempt(attempts, learned, choice)
        expected = as_expected(proof.outcome, options.expect)
        wanted = _wanted(learned, proof, manifest) - names
        if wanted:
            guessed |= wanted
            names |= wanted
            continue
        if expected and not proof.ledger.missing:
            if not all_names and learned.listed and _differs(learned.outcome, proof.outcome):
                manifest, proof = _with_names(attempts, learned, choice, manifest, proof)
            printed = _printed_accounts(work, learned.outcome, proof.outcome, manifest)
            if printed - names:
                names |= printed
                continue
            settled = widest or manifest.accounts.everything or not _asks_in_vain(learned, proof)
            if settled and (learned is whole or _became_the_same(learned.outcome, proof.outcome)):
                if keep is not Keep.USED and options.accounts != "all" and former is not None:
                    work.notes[f"with fewer accounts it went otherwise: the jail has {keep.value}"] = None
                elif (keep is not Keep.USED or len(guessed) > 1) and options.accounts != "all":
                    least = replace(choice, keep=Keep.USED, accounts=frozenset(names - guessed))
                    manifest, proof = _with_fewest_accounts(attempts, learned, least, manifest, proof)
                done = replace(proven(manifest), written=proof.written)
                seen = learned.outcome.capabilities | proof.outcome.capabilities | {*(former.capabilities if former else ())}
                return replace(done, capabilities=taken(done, seen)), proof, "", ""
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
    attempts: Attempts, learned: Learned, choice: Choice, manifest: Manifest, proof: Proof
) -> tuple[Manifest, Proof]:
    """The output changed and names that were listed are not in the jail: try whether they are the reason."""
    work = attempts.work
    text = learned.outcome.output + learned.outcome.exercise_output
    now = proof.outcome.output + proof.outcome.exercise_output
    printed = [
        directory for directory in learned.listed
        if any(_says(text, name) and not _says(now, name) for name in _unused_names(work, manifest, directory))
    ]
    fuller, again = attempt(attempts, learned, replace(choice, directories=tuple(printed or learned.listed)))
    if not _differs(learned.outcome, again.outcome) and not again.ledger.missing:
        work.notes["its output shows names of directories that it only lists: these names are in the jail"] = None
        return fuller, again
    return build(attempts, manifest), proof


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
    attempts: Attempts, learned: Learned, choice: Choice, manifest: Manifest, proof: Proof
) -> tuple[Manifest, Proof]:
    """It needs accounts whose ids were not seen: find by trying which of those that the manifest keeps."""
    work = attempts.work
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
        built, again = attempt(attempts, learned, replace(choice, accounts=choice.accounts | tried))
        right = (
            as_expected(again.outcome, work.options.expect) and not again.ledger.missing
            and not _asks_in_vain(learned, again) and not _printed_accounts(work, learned.outcome, again.outcome, built)
            and _became_the_same(learned.outcome, again.outcome)
            and not (same and _differs(learned.outcome, again.outcome))
        )
        if right:
            best = built, again
        return right

    least = manifest_of(attempts, learned, choice).accounts
    fewest(sorted(kept - {*least.users, *least.groups}), enough)
    manifest, proof = best
    if manifest is not built:
        manifest = build(attempts, manifest)
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


def _grew(learned: Learned, proof: Proof) -> bool:
    """Add what a proving run missed to the learned entries; whether anything is new."""
    new = {path: entry for path, entry in proof.ledger.entries.items() if path not in learned.ledger.entries}
    learned.ledger.entries.update(new)
    return bool(new)
