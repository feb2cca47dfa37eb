"""ld.so.cache (ldconfig(8), glibc's sysdeps/generic/dl-cache.h): read, and written anew for the libraries of a jail."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

_OLD = b"ld.so-1.7.0"
_NEW = b"glibc-ld.so.cache1.1"
_OLD_HEADER = 16      # struct cache_file
_OLD_ENTRY = struct.Struct("<iII")  # flags, key, value
_HEADER = 48          # struct cache_file_new
_ENTRY = struct.Struct("<iIIIQ")   # flags, key, value, osversion, hwcap
_LITTLE_ENDIAN = 2    # cache_file_new_flags_endian_little
_HWCAP_EXTENSION = 1 << 62
_MOST = 1 << 20       # libraries
_LONGEST = 4096       # bytes of a string: PATH_MAX
_PARTS = re.compile(rb"(\d+)|(\D)", re.DOTALL)


class CacheLibrary(NamedTuple):
    """A line of the cache: which file a soname is, for which kind of program (`flags`)."""

    soname: str
    path: str
    flags: int
    hwcap: int = 0


def read_cache(data: bytes) -> list[CacheLibrary]:
    """The libraries of a cache, in its order; an empty list for what is no sound cache of a known format.

    An old cache may have the new one behind it (ldconfig's `compat`, its default before glibc 2.32), which then counts.
    """
    if not data.startswith(_OLD):
        return _read_new(data, 0) or []
    if len(data) < _OLD_HEADER:
        return []
    count = struct.unpack_from("<I", data, 12)[0]
    strings = _OLD_HEADER + count * _OLD_ENTRY.size
    # Aligned to the new structure: by 8 on 64-bit machines, by 4 on i386.
    for alignment in (8, 4):
        libraries = _read_new(data, (strings + alignment - 1) & -alignment)
        if libraries is not None:
            return libraries
    if count > _MOST or strings > len(data):
        return []
    return _rows(data, strings, ((*_OLD_ENTRY.unpack_from(data, _OLD_HEADER + index * _OLD_ENTRY.size), 0)
                                 for index in range(count)))


def _read_new(data: bytes, start: int) -> list[CacheLibrary] | None:
    if data[start:start + len(_NEW)] != _NEW or len(data) < start + _HEADER:
        return None
    count = struct.unpack_from("<I", data, start + 20)[0]
    if count > _MOST or start + _HEADER + count * _ENTRY.size > len(data):
        return None
    places = (start + _HEADER + index * _ENTRY.size for index in range(count))
    entries = (_ENTRY.unpack_from(data, place) for place in places)
    return _rows(data, start, ((flags, key, value, hwcap) for flags, key, value, _, hwcap in entries))


def _rows(data: bytes, base: int, entries: Iterable[tuple[int, int, int, int]]) -> list[CacheLibrary]:
    libraries = []
    for flags, key, value, hwcap in entries:
        soname, path = _string(data, base + key), _string(data, base + value)
        if soname and path:
            libraries.append(CacheLibrary(soname, path, flags, hwcap))
    return libraries


def _string(data: bytes, offset: int) -> str:
    # Bounded, as each of a million entries may point to the same string.
    end = data.find(b"\0", offset, offset + _LONGEST)
    return os.fsdecode(data[offset:end]) if end > offset else ""


def write_cache(libraries: list[CacheLibrary]) -> bytes:
    """A cache in the new format. The loader searches it by halves, so the order is ldconfig's own
    (_dl_cache_libcmp, descending)."""
    ordered = sorted(libraries, key=_order, reverse=True)
    strings = bytearray()
    places: dict[str, int] = {}
    base = _HEADER + _ENTRY.size * len(ordered)

    def place(text: str) -> int:
        if text not in places:
            places[text] = base + len(strings)
            strings.extend(os.fsencode(text) + b"\0")
        return places[text]

    rows = [_ENTRY.pack(row.flags, place(row.soname), place(row.path), 0, 0) for row in ordered]
    header = _NEW + struct.pack("<IIB3xI12x", len(ordered), len(strings), _LITTLE_ENDIAN, 0)
    return header + b"".join(rows) + bytes(strings)


def _order(library: CacheLibrary) -> tuple[list[tuple[int, int]], int]:
    # _dl_cache_libcmp compares runs of digits as numbers; a digit sorts above any other character, and characters
    # are signed on x86, so that the end of the string is above some of them.
    parts = []
    for number, character in _PARTS.findall(os.fsencode(library.soname)):
        parts.append((1, int(number)) if number else (0, character[0] - 256 * (character[0] > 127)))
    return [*parts, (0, 0)], library.flags


def reduce_cache(data: bytes, present: Callable[[str], bool]) -> bytes:
    """The host's cache with only the libraries that are in the jail. Those for special processors
    (glibc-hwcaps) are left out: their extension section is, and the loader finds them by directory."""
    return write_cache([row for row in read_cache(data) if not row.hwcap & _HWCAP_EXTENSION and present(row.path)])
