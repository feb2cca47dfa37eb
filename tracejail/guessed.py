"""A manifest that is a first guess (`learn --attach`): how it says so, and how what was learned later makes it more."""

from __future__ import annotations

from dataclasses import replace

from tracejail.manifest import merge_runs
from tracejail.model import Manifest
from tracejail.resolve.host import HostRoot, inspect

_MARK = "a first guess: "


def first_guess(program: str) -> str:
    """The warning that marks it."""
    return f"{_MARK}gathered from {program} while it ran; what it read before is not in it; learn it to be sure"


def from_list(where: str) -> str:
    """The warning that marks one that was taken from a list."""
    return f"{_MARK}taken from {where}; nothing has been run in it"


def lost_arguments(title: str) -> str:
    """The warning that its command is not known whole."""
    return f"{_MARK}its arguments are not known, since it has written {title!r} over them"


def is_guess(manifest: Manifest) -> bool:
    """Whether a manifest is no more than a first guess."""
    return any(warning.startswith(_MARK) for warning in manifest.warnings)


def proven(manifest: Manifest) -> Manifest:
    """The manifest of a jail in which a run was clean."""
    return replace(manifest, clean=True, warnings=tuple(each for each in manifest.warnings if not each.startswith(_MARK)))


def completed(former: Manifest, later: Manifest, host: HostRoot) -> Manifest:
    """The manifest that is there and what was seen later. Of a guess what was seen later counts where the two differ: a
    process that runs has seen files that have changed since, and its arguments may be unknown. Raises ManifestError."""
    return _joined(former, later, host) if is_guess(former) else merge_runs(former, later)


def _joined(guess: Manifest, later: Manifest, host: HostRoot) -> Manifest:
    known = {entry.path for entry in later.entries}
    kept = tuple(entry for entry in guess.entries if entry.path not in known and inspect(host, entry.path) is not None)
    # A name of an inode may have lost the first one.
    paths = known | {entry.path for entry in kept}
    kept = tuple(replace(each, hard_link="") if each.hard_link and each.hard_link not in paths else each for each in kept)
    return replace(merge_runs(replace(guess, entries=kept), later), command=later.command)
