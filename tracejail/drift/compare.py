"""An entry against what lies at its path, in the jail and on the host: what of it is other, and what only its bytes can tell."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import NamedTuple

from tracejail.model import Content, Entry, EntryType, Manifest, Origin

from .nouns import Object

_SET_IDS = 0o6000
_MADE_FOR_JAILS = (Origin.BASE, Origin.SERVICE)   # the host need not have them


class How(IntEnum):
    """How much of an object counts."""

    NOT = 0         # nothing: not looked at
    TYPE = 1        # that it is there, and what it is
    DIRECTORY = 2   # mode and owner too
    WHOLE = 3       # all of it


class Watch(NamedTuple):
    """What is compared of an entry. `may_go`: the program itself takes it away and makes it anew."""

    jail: How
    host: How
    may_go: bool = False


class Bytes(Enum):
    """What is known of a file's content without reading it."""

    SAME = "same"
    UNSURE = "unsure"
    OTHER = "other"


class Judged(NamedTuple):
    """What of an object is other, in words ("" for nothing), and what is known of its content, target or device.
    `shaped`: a directory on one side only."""

    words: str
    bytes: Bytes = Bytes.SAME
    shaped: bool = False


def watches(manifest: Manifest) -> Callable[[Entry], Watch]:
    """How each entry is compared. What the program writes to is its own, once the jail is in use."""
    written = {place.path for place in manifest.written}

    def watch(entry: Entry) -> Watch:
        directory = entry.type is EntryType.DIRECTORY
        whole = How.DIRECTORY if directory else How.WHOLE
        host = How.NOT if entry.origin in _MADE_FOR_JAILS else How.TYPE if entry.content is Content.EMPTY else whole
        may_go = bool(written) and (entry.path.rpartition("/")[0] or "/") in written
        if entry.path in written:
            return Watch(How.TYPE, How.NOT, may_go)
        return Watch(whole, host, may_go)

    return watch


def is_plainly_same(entry: Entry, status: os.stat_result, how: How) -> bool:
    """Whether a stat(2) has all that the manifest says, so that nothing else need be asked: of most files it has."""
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        return False
    if entry.type is EntryType.FILE:
        return (
            how is How.WHOLE and status.st_mode == stat.S_IFREG | entry.mode and status.st_size == entry.size
            and entry.mtime_ns != 0 and status.st_mtime_ns == entry.mtime_ns and not entry.xattrs and bool(entry.sha256)
        )
    return how is How.DIRECTORY and status.st_mode == stat.S_IFDIR | entry.mode


def judge_jail(entry: Entry, there: Object, how: How, owned: bool) -> Judged:
    """What the jail has against the manifest. `owned` is false of a jail whose maker was not root: all of it is his, and he
    could give it no set-ID bits and no devices."""
    if there.type is not entry.type and (owned or entry.device is None or there.type is not EntryType.FILE):
        return _other_type(entry, there)
    if how is How.TYPE:
        return Judged("")
    words = []
    if entry.device is not None and there.type is not entry.type:
        return Judged("")   # an empty file in place of a device
    meant = entry.mode if owned else entry.mode & ~_SET_IDS
    if there.mode != meant and entry.type is not EntryType.SYMLINK:
        words.append(f"mode {entry.mode:04o} -> {there.mode:04o}")
    if owned and (there.uid, there.gid) != (entry.uid, entry.gid):
        words.append(f"owner {entry.uid}:{entry.gid} -> {there.uid}:{there.gid}")
    return _judged(entry, there, words)


def judge_host(entry: Entry, there: Object, how: How) -> Judged:
    """What the host has now against the manifest."""
    if there.type is not entry.type:
        return _other_type(entry, there)
    if how is How.TYPE:
        return Judged("")
    words = []
    # Set-ID bits are let into a jail or they are not; the host's may only go.
    mode = there.mode & ~_SET_IDS | there.mode & entry.mode & _SET_IDS if entry.type is EntryType.FILE else there.mode
    if mode != entry.mode and entry.type is not EntryType.SYMLINK:
        words.append(f"mode {entry.mode:04o} -> {mode:04o}")
    if (there.uid, there.gid) != (entry.uid, entry.gid):
        words.append(f"owner {entry.uid}:{entry.gid} -> {there.uid}:{there.gid}")
    if entry.type is EntryType.FILE and entry.content is not Content.HOST:
        return Judged(", ".join(words), Bytes.UNSURE)   # what would be made of it now has to be made
    return _judged(entry, there, words)


def _judged(entry: Entry, there: Object, words: list[str]) -> Judged:
    content = _bytes(entry, there)
    if content is Bytes.OTHER and entry.type is EntryType.SYMLINK:
        words.append(f"leads to {there.target}, led to {entry.target}")
    elif content is Bytes.OTHER and entry.device is not None:
        words.append("another device")
    return Judged(", ".join(words), content)


def _bytes(entry: Entry, there: Object) -> Bytes:
    match entry.type:
        case EntryType.FILE:
            if not entry.sha256:
                return Bytes.UNSURE
            if there.size != entry.size:
                return Bytes.OTHER
            return Bytes.SAME if entry.mtime_ns and there.mtime_ns == entry.mtime_ns else Bytes.UNSURE
        case EntryType.SYMLINK:
            return Bytes.SAME if there.target == entry.target else Bytes.OTHER
        case EntryType.CHARACTER | EntryType.BLOCK:
            return Bytes.SAME if there.device == entry.device else Bytes.OTHER
    return Bytes.SAME


def _other_type(entry: Entry, there: Object) -> Judged:
    shaped = EntryType.DIRECTORY in (entry.type, there.type)
    now = f"a link to {there.target}" if there.type is EntryType.SYMLINK else f"of type {there.type.value}"
    return Judged(f"was of type {entry.type.value}, is {now}", Bytes.OTHER, shaped)
