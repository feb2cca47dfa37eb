"""ld.so.cache (ldconfig(8), glibc's sysdeps/generic/dl-cache.h): read, and written anew for the libraries of a jail."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

_OLD = b"ld.so-1.7.0"
_NEW = b"glibc-ld.so.cache1.1"
_HEADER = 48          # struct cache_file_new
_ENTRY = struct.Struct("<iIIIQ")   # flags, key, value, osversion, hwcap
_LITTLE_ENDIAN = 2    # cache_file_new_flags_endian_little
_HWCAP_EXTENSION = 1 << 62
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class CacheLibrary:
    """A line of the cache: which file a soname is, for which kind of program (`flags`)."""

    soname: str
    path: str
    flags: int
    hwcap: int = 0


def read_cache(data: bytes) -> list[CacheLibrary]:
    """The libraries of a cache, in its order; an empty list for what is no sound cache of a known format."""
    start = 0
    if data.startswith(_OLD):
        # The old format first, the new one behind it, aligned to 8 bytes.
        if len(data) < 16:
            return []
        start = 16 + 12 * struct.unpack_from("<I", data, 12)[0]
        start = (start + 7) & ~7
    if data[start:start + len(_NEW)] != _NEW or len(data) < start + _HEADER:
        return []
    count = struct.unpack_from("<I", data, start + 20)[0]
    if count > _MOST or start + _HEADER + count * _ENTRY.size > len(data):
        return []
    libraries = []
    for index in range(count):
        flags, key, value, _, hwcap = _ENTRY.unpack_from(data, start + _HEADER + index * _ENTRY.size)
        soname, path = _string(data, start + key), _string(data, start + value)
        if soname and path:
            libraries.append(CacheLibrary(soname, path, flags, hwcap))
    return libraries


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    return os.fsdecode(data[offset:end]) if 0 <= offset < end else ""


def write_cache(libraries: list[CacheLibrary]) -> bytes:
    """A cache in the new format. The loader searches it by halves, so the order is ldconfig's own
    (_dl_cache_libcmp, descending)."""
    ordered = sorted(libraries, key=lambda library: _order(library), reverse=True)
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


def _order(library: CacheLibrary) -> tuple[list[tuple[int, int, str]], int]:
    # _dl_cache_libcmp compares runs of digits as numbers; a digit sorts above any other character.
    parts: list[tuple[int, int, str]] = []
    for number, character in re.findall(r"(\d+)|(\D)", library.soname):
        parts.append((1, int(number), "") if number else (0, ord(character), ""))
    return parts, library.flags


def reduce_cache(data: bytes, present: Callable[[str], bool]) -> bytes:
    """The host's cache with only the libraries that are in the jail. Those for special processors
    (glibc-hwcaps) are left out: their extension section is, and the loader finds them by directory."""
    return write_cache([row for row in read_cache(data) if not row.hwcap & _HWCAP_EXTENSION and present(row.path)])
