"""What ncdu(1) exports, version 1 of its JSON: to be walked through by size.

It is ncdu's JSON, in which a name is bytes: one that is no UTF-8 is there as it is. A character that can't be printed is an
escape, but only up to U+FFFF, as ncdu 1 reads half a pair for a character. Sizes on disk are those of blocks of 4 KiB.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tracejail import __version__
from tracejail.errors import ExportError
from tracejail.model import TYPES, Entry, EntryType

from .request import Request, parents_first, seconds_of

_BLOCK = 4096
_DEVICE = 1
_MOST_ID = 0x7FFFFFFF
_FORMATS = {kind: bits for bits, kind in TYPES.items()}


def ncdu(request: Request) -> Iterator[bytes]:
    """The jail as a tree: a directory is an array of itself and what is in it."""
    entries = parents_first(request.manifest)
    for entry in entries:
        if max(entry.uid, entry.gid) > _MOST_ID:
            raise ExportError(f"{entry.path!r}: ncdu takes no owner of a number above {_MOST_ID}", "mtree says it")
    return _tree(request, entries)


def _tree(request: Request, entries: list[Entry]) -> Iterator[bytes]:
    names = Counter(entry.hard_link or entry.path for entry in entries)
    inodes: dict[str, int] = {}
    head = {"progname": "tracejail", "progver": __version__, "timestamp": request.epoch}
    top = {"dev": _DEVICE, "asize": _BLOCK, "dsize": _BLOCK, "mode": stat.S_IFDIR | 0o755}
    yield b"[1,2," + _object(head) + b",\n[" + _item(request.jail or "/", top)
    inside: list[str] = []
    for entry in entries:
        *above, name = entry.path.split("/")[1:]
        while inside != above[: len(inside)]:
            inside.pop()
            yield b"]"
        while len(inside) < len(above):  # a directory that the manifest does not name
            inside.append(above[len(inside)])
            yield b",\n[" + _item(inside[-1], {})
        told = _told(request, entry)
        if names[entry.hard_link or entry.path] > 1 and entry.type is EntryType.FILE:
            first = entry.hard_link or entry.path
            told |= {"ino": inodes.setdefault(first, len(inodes) + 2), "hlnkc": True, "nlink": names[first]}
        if entry.type is EntryType.DIRECTORY:
            inside.append(name)
        yield (b",\n[" if entry.type is EntryType.DIRECTORY else b",\n") + _item(name, told)
    yield b"]" * (len(inside) + 2) + b"\n"


def _told(request: Request, entry: Entry) -> dict[str, Any]:
    told: dict[str, Any] = {}
    match entry.type:
        case EntryType.FILE:
            told = {"asize": entry.size, "dsize": -(-entry.size // _BLOCK) * _BLOCK}
        case EntryType.DIRECTORY:
            told = {"asize": _BLOCK, "dsize": _BLOCK}
        case EntryType.SYMLINK:
            told = {"asize": len(os.fsencode(entry.target))}
    told |= {"uid": entry.uid, "gid": entry.gid, "mode": _FORMATS[entry.type] | entry.mode, "mtime": seconds_of(entry, request)}
    if entry.type not in (EntryType.FILE, EntryType.DIRECTORY):
        told["notreg"] = True
    return told


def _object(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def _item(name: str, fields: dict[str, Any]) -> bytes:
    return b'{"name":"' + os.fsencode("".join(map(_escaped, name))) + (b'",' + _object(fields)[1:] if fields else b'"}')


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable() or "\udc80" <= character <= "\udcff" or character > "\uffff":
        return character
    return f"\\u{ord(character):04x}"
