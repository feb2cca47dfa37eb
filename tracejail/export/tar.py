"""A tar archive, pax form (pax(1) of POSIX.1-2001): owners by number, nanoseconds, hard links, extended attributes.

The same manifest gives the same bytes: nothing is in it that the manifest does not say.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from tracejail.model import Entry, EntryType

from .request import Request, archived, seconds_of

_TYPES = {
    EntryType.DIRECTORY: tarfile.DIRTYPE,
    EntryType.SYMLINK: tarfile.SYMTYPE,
    EntryType.FILE: tarfile.REGTYPE,
    EntryType.FIFO: tarfile.FIFOTYPE,
    EntryType.CHARACTER: tarfile.CHRTYPE,
    EntryType.BLOCK: tarfile.BLKTYPE,
}
_BLOCK = tarfile.BLOCKSIZE


def tar(request: Request) -> Iterator[bytes]:
    """All entries of the jail."""
    for entry in archived(request.manifest, "tar"):
        yield from member(request, entry)
    yield bytes(2 * _BLOCK)


def member(request: Request, entry: Entry) -> Iterator[bytes]:
    """A header, and a file's bytes."""
    info = tarfile.TarInfo(entry.path[1:])
    info.type = tarfile.LNKTYPE if entry.hard_link else _TYPES[entry.type]
    info.linkname = entry.hard_link[1:] or entry.target
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.size = entry.size if info.type == tarfile.REGTYPE else 0
    info.mtime = seconds_of(entry, request)
    if entry.device:
        info.devmajor, info.devminor = entry.device
    # A value is bytes: tarfile says so itself where they are no text (hdrcharset of pax(1)).
    values = {name: bytes.fromhex(value).decode("utf-8", "surrogateescape") for name, value in entry.xattrs}
    headers = {f"SCHILY.xattr.{name}": value for name, value in values.items()}
    if not (info.name + info.linkname).isascii():
        # Names are bytes: else libarchive takes two names, of composed and of decomposed letters, for one.
        headers = {"hdrcharset": "BINARY", **headers}
    fraction = entry.mtime_ns % 10**9
    if fraction and info.mtime * 10**9 + fraction == entry.mtime_ns:
        headers["mtime"] = f"{info.mtime}.{fraction:09}"
    info.pax_headers = headers
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if info.size:
        yield from request.contents(entry)
        yield bytes(-info.size % _BLOCK)
