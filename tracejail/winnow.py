"""The use case `audit --remove`: what no run needed is taken out of a jail, once a copy without it has been proven."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tracejail.audit.facts import Facts
from tracejail.audit.needs import unneeded
from tracejail.engines import chosen
from tracejail.errors import InputOutputError, UsageError
from tracejail.foreign import settled
from tracejail.jail.staging import staging
from tracejail.kernel.paths import BENEATH, NO_MAGICLINKS, NO_SYMLINKS, NO_XDEV, openat2
from tracejail.learner import learner, verify_in
from tracejail.model import EntryType, Manifest, TrialOptions
from tracejail.show import Show
from tracejail.trial.outcome import as_expected, ended_words
from tracejail.trial.overlays import overlay_tree
from tracejail.verify import options_of

_STRAIGHT = BENEATH | NO_SYMLINKS | NO_MAGICLINKS | NO_XDEV


@dataclass(frozen=True, slots=True)
class Winnowed:
    """What came of it. `clean`: the program runs as it should without `paths`; nothing is removed where it does not."""

    paths: tuple[str, ...]
    clean: bool
    removed: bool
    reason: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()


def winnow(facts: Facts, environment: tuple[tuple[str, str], ...], dry: bool, show: Show) -> Winnowed:
    """Remove what `unneeded` names. It is first removed in memory, over the jail as it is, and the manifest's command is run
    in a copy of that, with nothing answered.

    Raises UsageError, KernelLacksError, InputOutputError, LockedError.
    """
    if facts.manifest is None:
        raise UsageError("--remove: what is needed is not known without a manifest", "-m MANIFEST, or tracejail adopt makes one")
    beside = f"{facts.jail}.json"
    if os.path.realpath(facts.manifest.jail) != facts.jail and os.path.realpath(facts.manifest_path) != beside:
        raise UsageError(
            f"--remove: {facts.manifest_path} is of another jail: {facts.manifest.jail}", f"if it is of this one too: as {beside}"
        )
    paths = tuple(item.path for item in unneeded(facts))
    if not paths:
        return Winnowed((), True, False)
    gone = tuple(_all_of(facts, frozenset(paths)))
    root = os.open(facts.jail, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with staging(facts.jail), overlay_tree(root) as tree:   # no other run is to build this jail meanwhile
            _remove(tree, gone)
            reason, hint, notes = _prove(facts.manifest, facts.manifest_path, environment, tree, show)
            if reason or dry:
                return Winnowed(paths, not reason, False, reason, hint, notes)
            _remove(root, gone)
    finally:
        os.close(root)
    return Winnowed(paths, True, True, notes=notes)


def _all_of(facts: Facts, tops: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """What is at these paths and beneath, the innermost first, each with whether it is a directory: no more is removed from
    the jail than was proven to be of no need."""
    done = set(tops)
    found = []
    for item in sorted(facts.items, key=lambda each: each.path.count("/")):
        if item.path in tops or posixpath.dirname(item.path) in done:
            done.add(item.path)
            found.append((item.path, item.type is EntryType.DIRECTORY))
    yield from reversed(found)


def _remove(root: int, paths: Iterable[tuple[str, bool]]) -> None:
    """Raises InputOutputError."""
    for path, is_directory in paths:
        above, _, name = path.strip("/").rpartition("/")
        try:
            parent = openat2(root, above or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _STRAIGHT)
            try:
                (os.rmdir if is_directory else os.unlink)(name, dir_fd=parent)
            finally:
                os.close(parent)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputOutputError(
                f"{path}: can't be removed: {os.strerror(error.errno or 0)}", "look at it: see lsattr(1), or is it in use?",
            ) from None


def _prove(
    manifest: Manifest, path: str, environment: tuple[tuple[str, str], ...], tree: int, show: Show
) -> tuple[str, str, tuple[str, ...]]:
    """Why it is not clean ("" if it is), what to do, and notes."""
    options: TrialOptions = options_of(manifest, path, environment)
    with chosen(options.engine, show) as engine:
        work = learner(options, show, engine)
        known, notes = settled(work.host, manifest)
        proof = verify_in(work, known, tree)
    told = (*notes, *work.notes)
    outcome, missing = proof.outcome, proof.ledger.missing
    if not as_expected(outcome, options.expect):
        return outcome.failure or f"it {ended_words(outcome)}", outcome.hint or "is it clean as it is? tracejail verify", told
    if missing:
        return f"{len(missing)} things are missing that the host has", "tracejail verify names them", told
    return "", "", told
