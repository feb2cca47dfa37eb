"""From a manifest's entries to a tree: a pure plan, then the writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from tracejail.errors import InputOutputError, SourceChangedError
from tracejail.model import Entry, EntryType

from .tree import Attributes, Tree, make_directory, make_file, make_hard_link, make_node, make_symlink, set_directory

# Where an entry's bytes come from: an open descriptor, which is closed after use, or the bytes.
Contents = Callable[[Entry], int | bytes]
# The time of last change that a directory or symlink is given, or None.
Times = Callable[[Entry], int | None]


def plan(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in the order in which they can be made: parents before children, a hard link's first name before
    the others."""
    return sorted(entries, key=lambda entry: (bool(entry.hard_link), entry.path.split("/")))


def populate(tree: Tree, entries: Iterable[Entry], contents: Contents, times: Times) -> None:
    """Make all entries in an empty tree.

    Raises InputOutputError: no room, or a source whose content is not what the manifest says.
    """
    planned = plan(entries)
    for entry in planned:
        _make(tree, entry, contents, times)
    # Deepest first, and after all else: making a child changes its parent's time.
    for entry in reversed(planned):
        if entry.type is EntryType.DIRECTORY:
            set_directory(tree, entry.path, replace(attributes_of(entry), mtime_ns=times(entry)))


def attributes_of(entry: Entry) -> Attributes:
    """The entry's owner, mode, time and extended attributes."""
    time = entry.mtime_ns if entry.type is EntryType.FILE else None
    return Attributes(entry.mode, entry.uid, entry.gid, time, entry.xattrs)


def _make(tree: Tree, entry: Entry, contents: Contents, times: Times) -> None:
    attributes = attributes_of(entry)
    try:
        match entry.type:
            case EntryType.DIRECTORY:
                # Whoever is not root must be let in until all is there; the true mode comes at the end.
                make_directory(tree, entry.path, replace(attributes, mode=attributes.mode | 0o700))
            case EntryType.SYMLINK:
                make_symlink(tree, entry.path, entry.target, replace(attributes, mtime_ns=times(entry)))
            case EntryType.FILE if entry.hard_link:
                make_hard_link(tree, entry.path, entry.hard_link)
            case EntryType.FILE:
                _make_file(tree, entry, contents, attributes)
            case _:
                make_node(tree, entry.path, entry.type, entry.device, attributes)
    except FileExistsError:
        raise InputOutputError(f"{tree.name}{entry.path}: it is there already", "build into an empty place") from None


def _make_file(tree: Tree, entry: Entry, contents: Contents, attributes: Attributes) -> None:
    source = contents(entry)
    try:
        digest, _ = make_file(tree, entry.path, source, attributes)
    finally:
        if isinstance(source, int):
            os.close(source)
    if entry.sha256 and digest != entry.sha256:
        raise SourceChangedError(
            entry.path,
            f"{entry.path}: its content on the host is not what the manifest says",
            "the host was changed since: learn again",
        )
