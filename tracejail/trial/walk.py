"""The look-up of a path in two trees at once: the trial's, and the host's where the trial has nothing.

The trial is a part of the host with the same links, so walking it component by component, as path_resolution(7) says,
and asking the host at the first thing that is missing, finds each hop that must be brought: directories, symlinks and
the object. What the target made itself in the trial is walked as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from tracejail.model import EntryType

_LINKS = 40  # path_resolution(7): more symlinks than this are ELOOP


class Place(Enum):
    """Where a walk ended."""

    FOUND = "found"      # the object is in the trial, or will be when the steps are taken
    FREE = "free"        # the parent is; the last name is free for the call to make
    ABSENT = "absent"    # the host does not have it either
    FAILS = "fails"      # the host says ENOTDIR or ELOOP for it, by what is on the way


@dataclass(frozen=True, slots=True)
class Found:
    """What one of the trees holds at a path without symlinks."""

    type: EntryType
    target: str = ""
    foreign: bool = False    # on another mount, where a walk from outside ends


@dataclass(frozen=True, slots=True)
class Hop:
    """A component that the walk passed, all parents resolved. `last` is the object that was asked for."""

    path: str
    type: EntryType
    missing: bool     # in the trial: to be brought
    last: bool
    via: str          # the symlink that led here, "" where none did


@dataclass(frozen=True, slots=True)
class Walk:
    """The result: the real path where it ended, and the hops in the order in which they were passed."""

    place: Place
    path: str
    hops: tuple[Hop, ...]
    trial: bool = True       # the last object is in the trial


@dataclass(slots=True)
class _State:
    root: str
    current: str
    hops: list[Hop] = field(default_factory=list)
    links: int = 0
    via: str = ""


def join(directory: str, name: str) -> str:
    """A name in a directory, both in jail spelling."""
    return f"/{name}" if directory == "/" else f"{directory}/{name}"


def parent_of(path: str) -> str:
    """The directory that holds `path`; "/" for itself."""
    return path.rpartition("/")[0] or "/"


def _once(hops: list[Hop]) -> tuple[Hop, ...]:
    return tuple({hop.path: hop for hop in reversed(hops)}.values())[::-1]


def _led_through(found: Found, follow: bool) -> bool:
    if found.type is EntryType.SYMLINK:
        return follow
    return found.type in (EntryType.CHARACTER, EntryType.BLOCK)


Look = Callable[[str], Found | None]


def walk(root: str, base: str, spelled: str, follow: bool, create: bool, trial: Look, host: Look) -> Walk:
    """Resolve `spelled` for a process whose root directory is `root`, from `base` where it is relative.

    With `create` the last name is free (Place.FREE) for the call to make where the trial does not have it, whatever
    file the host has there; a link that is followed and a device are what they are. An unknown base gives ABSENT.
    """
    if not spelled.startswith("/") and not base:
        return Walk(Place.ABSENT, spelled, ())
    if create and len(spelled) > 1:
        spelled = spelled.rstrip("/") or "/"
    state = _State(root, root if spelled.startswith("/") else base)
    follow = follow or spelled.endswith("/")
    rest = [part for part in reversed(spelled.split("/")) if part not in ("", ".")]
    while rest:
        name = rest.pop()
        if name == "..":
            if state.current != state.root:
                state.current = parent_of(state.current)
            continue
        path, last = join(state.current, name), not rest
        found = trial(path)
        if found is not None and found.foreign:
            return Walk(Place.FOUND, path, tuple(state.hops))
        missing = found is None
        if found is None:
            found = host(path)
            if found is not None and create and last and not _led_through(found, follow):
                found = None
        if found is None:
            place = Place.FREE if create and last else Place.ABSENT
            return Walk(place, path, tuple(state.hops), trial=False)
        if found.type is EntryType.SYMLINK and (not last or follow):
            state.links += 1
            if state.links > _LINKS:
                return Walk(Place.FAILS, path, _once(state.hops), trial=False)
            state.hops.append(Hop(path, found.type, missing, False, state.via))
            state.via = path
            rest.extend(part for part in reversed(found.target.split("/")) if part not in ("", "."))
            if found.target.startswith("/"):
                state.current = state.root
            continue
        if (not last or spelled.endswith("/")) and found.type is not EntryType.DIRECTORY:
            state.hops.append(Hop(path, found.type, missing, False, state.via))
            return Walk(Place.FAILS, path, tuple(state.hops), trial=not missing)
        state.hops.append(Hop(path, found.type, missing, last, state.via))
        state.current = path
        if last:
            return Walk(Place.FOUND, path, tuple(state.hops), trial=not missing)
    return Walk(Place.FOUND, state.current, tuple(state.hops))
