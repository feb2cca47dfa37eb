"""A cpio archive, form "newc" (cpio(5); the kernel's buffer-format.rst): what an initramfs is made of."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from tracejail.errors import ExportError
from tracejail.model import Entry, EntryType, Manifest

from .request import Request, archived, seconds_of

_TYPES = {
    EntryType.DIRECTORY: 0o040000,
    EntryType.SYMLINK: 0o120000,
    EntryType.FILE: 0o100000,
    EntryType.FIFO: 0o010000,
    EntryType.CHARACTER: 0o020000,
    EntryType.BLOCK: 0o060000,
}
_MOST = 0xFFFFFFFF           # of each number: eight hexadecimal digits
_LONGEST = 4096              # bytes of a name, with its NUL (N_ALIGN and PATH_MAX in init/initramfs.c)
_TRAILER = "TRAILER!!!"
_INSTEAD = "tar holds it"


def cpio(request: Request) -> Iterator[bytes]:
    """All entries; the bytes of a file with several names come with the last of them."""
    entries = archived(request.manifest, "cpio")
    for entry in entries:
        _check(entry)
    return _archive(request, entries)


def _check(entry: Entry) -> None:
    if entry.path == f"/{_TRAILER}":
        raise ExportError(f"{entry.path}: this name ends a cpio archive", _INSTEAD)
    if entry.xattrs:
        raise ExportError(f"{entry.path}: cpio holds no extended attributes ({entry.xattrs[0][0]})", _INSTEAD)
    if entry.size > _MOST:
        raise ExportError(f"{entry.path}: cpio holds no file of 4 GiB and more", _INSTEAD)
    if len(os.fsencode(entry.path)) > _LONGEST or len(os.fsencode(entry.target)) >= _LONGEST:
        raise ExportError(f"{entry.path}: this name is longer than cpio's", _INSTEAD)


def _archive(request: Request, entries: list[Entry]) -> Iterator[bytes]:
    names = _names(request.manifest)
    inodes: dict[str, int] = {}
    left = Counter(names)
    for entry in entries:
        first = entry.hard_link or entry.path
        left[first] -= 1
        inode = inodes.setdefault(first, len(inodes) + 1)
        has_bytes = entry.type is EntryType.FILE and not left[first]
        target = os.fsencode(entry.target) if entry.type is EntryType.SYMLINK else b""
        size = entry.size if has_bytes else len(target)
        links = 2 if entry.type is EntryType.DIRECTORY else names[first]
        yield _header(request, entry, inode, links, size)
        if target:
            yield target
        elif size:
            yield from request.contents(entry)
        yield bytes(-size % 4)
    yield _record(_TRAILER, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])


def _names(manifest: Manifest) -> Counter[str]:
    return Counter(entry.hard_link or entry.path for entry in manifest.entries)


def _header(request: Request, entry: Entry, inode: int, links: int, size: int) -> bytes:
    device = entry.device or (0, 0)
    time = min(seconds_of(entry, request), _MOST)
    numbers = [inode, _TYPES[entry.type] | entry.mode, entry.uid, entry.gid, links, time, size, 0, 0, *device]
    return _record(entry.path[1:], numbers)


def _record(name: str, numbers: list[int]) -> bytes:
    data = os.fsencode(name) + b"\0"
    head = b"070701" + b"".join(b"%08X" % number for number in (*numbers, len(data), 0)) + data
    return head + bytes(-len(head) % 4)
