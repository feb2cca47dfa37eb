"""mtree(5), nested form: bsdtar(1) builds from it in a jail, mtree(8) verifies a jail with it.

Times are there for files only, and with nanoseconds: libarchive takes `time` without a fraction for another number of
nanoseconds than mtree(8) does, and a directory's time is nobody's promise.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator

from tracejail.errors import ExportError
from tracejail.model import Entry, EntryType

from .request import Request, parents_first, seconds_of

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,:@%/~^")


# mtree(8) of NetBSD takes a name for a pattern, escaped or not, and has no way to say that it is none; "[" alone is none.
_PATTERN = re.compile(r"[*?]|\[.*\]", re.DOTALL)


def mtree(request: Request) -> Iterator[bytes]:
    """All entries, each directory ended by `..`."""
    entries = parents_first(request.manifest)
    for entry in entries:
        if entry.xattrs:
            raise ExportError(f"{entry.path}: mtree says no extended attributes ({entry.xattrs[0][0]})", "tar holds it")
        if _PATTERN.search(entry.path.rpartition("/")[2]):
            raise ExportError(f"{entry.path!r}: mtree would take this name for a pattern", "tar holds it")
    return _lines(request, entries)


def escaped(name: str) -> bytes:
    """A name or a link's target, all that is not plain as three octal digits."""
    return b"".join(b"%c" % byte if byte in _PLAIN else b"\\%03o" % byte for byte in os.fsencode(name))


def _lines(request: Request, entries: list[Entry]) -> Iterator[bytes]:
    links = Counter(entry.hard_link or entry.path for entry in entries)
    yield b"#mtree\n. type=dir mode=0755 uid=0 gid=0\n"
    inside: list[str] = []
    for entry in entries:
        above = entry.path.split("/")[1:-1]
        while inside != above[: len(inside)]:
            inside.pop()
            yield b"..\n"
        words = [f"type={entry.type.value}", f"mode={entry.mode:04o}", f"uid={entry.uid}", f"gid={entry.gid}"]
        if entry.type is EntryType.FILE:
            names = links[entry.hard_link or entry.path]
            words += [f"nlink={names}"] if names > 1 else []
            words += [f"size={entry.size}", f"sha256={entry.sha256}"] if entry.sha256 else []
            words += [f"time={_time(entry, request)}"] if entry.mtime_ns else []
        if entry.device:
            words.append("device=linux,{},{}".format(*entry.device))
        tail = b" link=" + escaped(entry.target) if entry.type is EntryType.SYMLINK else b""
        yield escaped(entry.path.rpartition("/")[2]) + b" " + " ".join(words).encode("ascii") + tail + b"\n"
        if entry.type is EntryType.DIRECTORY:
            inside = entry.path.split("/")[1:]
    yield b"..\n" * (len(inside) + 1)


def _time(entry: Entry, request: Request) -> str:
    seconds = seconds_of(entry, request)
    fraction = entry.mtime_ns % 10**9 if seconds == entry.mtime_ns // 10**9 else 0
    return f"{seconds}.{fraction:09}"
