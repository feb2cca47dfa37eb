"""A pseudo file of mksquashfs(1), 4.5 and later, with the files' bytes in it: the form that `unsquashfs -pf` writes.

So nothing is read or run while the image is made: a line of type "f" would be a command.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from tracejail.errors import ExportError
from tracejail.model import Entry, EntryType

from .request import Request, archived, seconds_of

_ESCAPED = frozenset(b" \t\v\f\r\"'\\#=")
_INSTEAD = "tar holds it"


def squashfs(request: Request) -> Iterator[bytes]:
    """All entries, then all bytes."""
    entries = archived(request.manifest, "this form of squashfs")
    for entry in entries:
        _check(entry)
    yield b"/ D %d 755 0 0\n" % request.epoch
    at = 0
    for entry in entries:
        yield _name(entry.path) + b" " + _rest(entry, request, at) + b"\n"
        if entry.type is EntryType.FILE and not entry.hard_link:
            at += entry.size
    yield b"#\n# START OF DATA - DO NOT MODIFY\n#\n"
    for entry in entries:
        if entry.type is EntryType.FILE and not entry.hard_link and entry.size:
            yield from request.contents(entry)


def _check(entry: Entry) -> None:
    target = os.fsencode(entry.target)
    if "\n" in entry.path or "\n" in entry.target:
        raise ExportError(f"{entry.path!r}: a line of mksquashfs can't hold a newline", _INSTEAD)
    if target[:1].isspace() or target.endswith(b"\\"):
        raise ExportError(f"{entry.path!r}: mksquashfs would take its target for another one", _INSTEAD)
    if entry.xattrs:
        name = entry.xattrs[0][0]
        raise ExportError(f"{entry.path}: a pseudo file says no extended attributes ({name})", "mksquashfs JAIL IMAGE takes them")


def _name(path: str) -> bytes:
    return b"".join(b"\\%c" % byte if byte in _ESCAPED else b"%c" % byte for byte in os.fsencode(path[1:]))


def _rest(entry: Entry, request: Request, at: int) -> bytes:
    if entry.hard_link:
        return b"L " + _name(entry.hard_link)
    facts = b"%d %o %d %d" % (min(seconds_of(entry, request), 0xFFFFFFFF), entry.mode, entry.uid, entry.gid)
    match entry.type:
        case EntryType.DIRECTORY:
            return b"D " + facts
        case EntryType.SYMLINK:
            return b"S " + facts + b" " + os.fsencode(entry.target)
        case EntryType.FIFO:
            return b"I " + facts + b" f"
        case EntryType.FILE:
            return b"R " + facts + b" %d %d" % (entry.size, at)
    letter = b"C" if entry.type is EntryType.CHARACTER else b"B"
    return letter + b" " + facts + b" %d %d" % (entry.device or (0, 0))
