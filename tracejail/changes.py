"""From a look and a renewed manifest to the changes of a jail, in an order in which a daemon that runs can load at any time."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from tracejail.drift.compare import How, watches
from tracejail.drift.nouns import Drift, Kind, Object
from tracejail.jail.build import Times, attributes_of
from tracejail.jail.journal import Step, inode_at
from tracejail.jail.tree import Attributes, Tree, look, open_path
from tracejail.looking import Look
from tracejail.model import Content, Entry, EntryType, JailPath, Manifest
from tracejail.needs import is_executed
from tracejail.resolve.closure import Dependency


class Action(Enum):
    """What is done at a path."""

    ADD = "add"
    REPLACE = "replace"
    SET = "set"          # mode, owner or time alone
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """What is done at one path; `entry` is what it is to be, or was. `was` tells what lay there (None: what the manifest
    said)."""

    path: str
    action: Action
    entry: Entry
    before: Entry | None = None
    was: Object | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes in their order, and what is left as it is (`kept`); paths among that which the manifest must not be
    renewed for, or the next look would know nothing of what the host has for them: `held`."""

    changes: tuple[Change, ...]
    kept: tuple[Drift, ...]
    held: Mapping[str, Drift] = field(default_factory=dict)


def plan_changes(
    found: Look, new: Manifest, tree: Tree, rows: Iterable[Dependency], force: bool, hold: Collection[str] = ()
) -> Plan:
    """What makes the jail that was looked at the one of the manifest `new`. What was changed in the jail stays but with
    `force`, and what is in `hold` in any case. `rows` tell which library needs which."""
    before: dict[str, Entry] = {entry.path: entry for entry in found.manifest.entries}
    after: dict[str, Entry] = {entry.path: entry for entry in new.entries}
    watch = watches(found.manifest)
    stay = {row.path for row in found.rows if row.kind in (Kind.DENIED, Kind.SHAPE)} | set(hold)
    changes: list[Change] = []
    kept: list[Drift] = []
    for path, entry in after.items():
        old = before.get(path)
        if path in stay:
            continue
        if old is None:
            _add(path, entry, tree, force, changes, kept)
        elif path in found.jail:
            _other(found, path, old, entry, force, changes, kept)
        elif watch(old).jail is not How.TYPE and not (watch(old).may_go and inode_at(tree, path) == 0):
            action = _action(old, entry)
            if action is not None:
                changes.append(Change(path, action, entry, old))
    for path in before.keys() - after.keys():
        lies = found.jail.get(path, _AS_MEANT)
        if isinstance(lies, tuple) and not force:
            kept.append(_kept(before[path], "gone from the host, and changed in the jail"))
        elif lies is not None and inode_at(tree, path):
            changes.append(Change(path, Action.REMOVE, before[path], before[path]))
    done = {change.path for change in changes}
    held = {row.path: row for row in kept if row.path not in done}
    for change in list(changes):
        reason = _unreachable(tree, change.path, after)
        if reason:
            changes.remove(change)
            entry = before.get(change.path, change.entry)
            held[change.path] = Drift(change.path, Kind.SHAPE, reason, entry.package, entry.version)
            kept.append(held[change.path])
    return Plan(tuple(_ordered(changes, rows)), tuple(kept), held)


def _unreachable(tree: Tree, path: str, after: Mapping[str, Entry]) -> str:
    """Why no change can be made at a path of the jail: what is above it is no directory of the jail any more; else ""."""
    above = path.rpartition("/")[0]
    try:
        os.close(open_path(tree, path))
    except OSError as error:
        if error.errno == errno.EXDEV:
            return "it is on another mount"
    while above:
        try:
            os.close(open_path(tree, above))
            seen = look(tree, above, target=False)
            return "" if seen and seen.type is EntryType.DIRECTORY else f"{above} is no directory in the jail"
        except FileNotFoundError:
            if above not in after:
                return f"{above} is not in the jail"
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR):
                raise
            return f"{above} is on another mount" if error.errno == errno.EXDEV else f"{above} is behind a link in the jail"
        above = above.rpartition("/")[0]
    return ""


_AS_MEANT = "as meant"
_SET_IDS = 0o6000
_XATTRS = "extended attributes"   # in the words of a look


def _kept(entry: Entry, words: str) -> Drift:
    return Drift(entry.path, Kind.TAMPERED, words, entry.package, entry.version)


def _action(old: Entry, new: Entry) -> Action | None:
    if _content(old) != _content(new):
        return Action.REPLACE
    if (old.uid, old.gid) != (new.uid, new.gid):
        return Action.REPLACE if new.type is EntryType.SYMLINK else Action.SET
    if (old.mode, old.mtime_ns) != (new.mode, new.mtime_ns):
        return Action.SET
    return None


def _content(entry: Entry) -> tuple[object, ...]:
    return entry.type, entry.sha256, entry.target, entry.device, entry.xattrs, entry.content is Content.EMPTY


def _add(path: str, entry: Entry, tree: Tree, force: bool, changes: list[Change], kept: list[Drift]) -> None:
    there = look(tree, path)
    if there is None:
        changes.append(Change(path, Action.ADD, entry))
    elif there.type is EntryType.DIRECTORY and entry.type is EntryType.DIRECTORY:
        return   # with its own owner and mode
    elif force and EntryType.DIRECTORY not in (there.type, entry.type):
        changes.append(Change(path, Action.REPLACE, entry))
    else:
        kept.append(_kept(entry, "needed now, and the jail has something of its own there"))


def _other(
    found: Look, path: str, old: Entry, entry: Entry, force: bool, changes: list[Change], kept: list[Drift]
) -> None:
    lies = found.jail[path]
    if lies is None:
        changes.append(Change(path, Action.ADD, entry, old))
        return
    there, digest = lies
    same = (there.type, there.target, there.device) == (entry.type, entry.target, entry.device)
    same = same and (entry.type is not EntryType.FILE or digest == entry.sha256)
    attributes = (there.mode, there.uid, there.gid) == (entry.mode, entry.uid, entry.gid)
    as_meant = there.type is EntryType.FILE and bool(old.sha256) and digest == old.sha256 and not same
    marked = any(row.path == path and _XATTRS in row.detail for row in found.rows if row.kind is Kind.TAMPERED)
    if same and not marked and (attributes or entry.type is EntryType.SYMLINK):
        return   # it is what it is to be already
    if not force:
        kept.append(next(row for row in found.rows if row.path == path and row.kind is Kind.TAMPERED))
        if as_meant and entry.type is EntryType.FILE and old.type is EntryType.FILE:
            # Somebody gave it another mode or owner: it keeps them, but is no reason to go without a patch.
            mode = there.mode & ~_SET_IDS
            changes.append(Change(path, Action.REPLACE, replace(entry, mode=mode, uid=there.uid, gid=there.gid), old, there))
    elif EntryType.DIRECTORY in (there.type, entry.type):
        changes.append(Change(path, Action.SET, entry, old, there))
    else:
        changes.append(Change(path, Action.REPLACE, entry, old, there))


# --- the order --------------------------------------------------------------------------------------------------------

# New before what is there, libraries before those that need them, programs after them, and only then what goes.
_NEW_DIRECTORY, _NEW, _NEW_LINK, _LIBRARY, _LINK, _DATA, _PROGRAM, _SET, _GONE, _GONE_DIRECTORY = range(10)


def _ordered(changes: list[Change], rows: Iterable[Dependency]) -> list[Change]:
    heights = _heights(rows)

    def rank(change: Change) -> tuple[int, int, str]:
        entry = change.entry
        directory, link = entry.type is EntryType.DIRECTORY, entry.type is EntryType.SYMLINK
        depth = change.path.count("/")
        height = heights.get(change.path, 0)
        match change.action:
            case Action.ADD if directory:
                return _NEW_DIRECTORY, depth, change.path
            case Action.ADD:
                return (_NEW_LINK if link else _NEW), height, change.path
            case Action.SET:
                return _SET, 0, change.path
            case Action.REMOVE:
                return (_GONE_DIRECTORY, -depth, change.path) if directory else (_GONE, 0, change.path)
        if is_executed(entry):
            return _PROGRAM, height, change.path
        if link:
            return _LINK, 0, change.path
        return (_LIBRARY if change.path in heights else _DATA), height, change.path

    return sorted(changes, key=rank)


def _heights(rows: Iterable[Dependency]) -> dict[str, int]:
    """How many libraries deep a file's needs go: those without any come first."""
    by: dict[str, set[str]] = {}
    for row in rows:
        if row.found and row.how in ("elf-needed", "elf-interpreter"):
            by.setdefault(row.needed_by, set()).add(row.path)
            by.setdefault(row.path, set())
    heights: dict[str, int] = dict.fromkeys(by, 0)
    for _ in range(len(by)):
        moved = False
        for path, needed in by.items():
            height = max((heights[each] + 1 for each in needed), default=0)
            if heights[path] < height <= len(by):
                heights[path], moved = height, True
        if not moved:
            break
    return heights


# --- the steps --------------------------------------------------------------------------------------------------------


def steps_of(changes: Iterable[Change], tree: Tree, times: Times) -> tuple[list[Step], dict[str, str]]:
    """The steps of the changes, what comes in not made yet; and its names in the journal's directory by path. Raises OSError."""
    steps, names = [], {}
    for number, change in enumerate(changes):
        directory = change.entry.type is EntryType.DIRECTORY
        was = inode_at(tree, change.path)
        step = Step(change.path, was=was, directory=directory)
        if change.action is Action.SET:
            assert change.before is not None
            old = attributes_of(change.before)
            if change.was is not None:
                old = Attributes(change.was.mode, change.was.uid, change.was.gid, change.was.mtime_ns)
            after = attributes_of(change.entry)
            step = replace(step, was=0, before=replace(old, xattrs=attributes_of(change.before).xattrs), after=after)
        else:
            if change.action is not Action.ADD:
                step = replace(step, kept=f"o{number}")
            if change.action is not Action.REMOVE:
                names[change.path] = f"n{number}"
                step = replace(step, staged=names[change.path])
        steps.append(step)
    return steps, names


def to_stage(changes: Iterable[Change], names: Mapping[str, str]) -> dict[str, Entry]:
    """What must be made in the journal's directory, by its path there: entries with that path, and with hard links among
    themselves."""
    made = {}
    for change in changes:
        name = names.get(change.path)
        if name is not None:
            link = names.get(change.entry.hard_link)
            made[f"/{name}"] = replace(change.entry, path=JailPath(f"/{name}"), hard_link=f"/{link}" if link else "")
    return made
