"""ld.so.cache: read, written, reduced; `ldconfig -p` and a real loader have the last word."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from tracejail.resolve.loader import CacheLibrary, read_cache, reduce_cache, write_cache

_X86_64 = 0x0303  # FLAG_ELF_LIBC6 | FLAG_X8664_LIB64
_LIBRARIES = [CacheLibrary(f"lib{name}.so.{number}", f"/opt/{name}/lib{name}.so.{number}", _X86_64)
              for name in ("a", "b2", "b10", "z") for number in (1, 9, 10)]
_LDCONFIG = "/sbin/ldconfig"


def _old(rows: list[CacheLibrary], behind: bytes = b"", alignment: int = 8) -> bytes:
    strings, entries = b"", b""
    for row in rows:
        key = len(strings)
        strings += row.soname.encode() + b"\0"
        entries += struct.pack("<iII", row.flags, key, len(strings))
        strings += row.path.encode() + b"\0"
    head = b"ld.so-1.7.0\0" + struct.pack("<I", len(rows)) + entries
    # The strings of a joint cache are behind the new structure; here only its place matters.
    return head + bytes(-len(head) % alignment) + behind if behind else head + strings


def test_round_trip() -> None:
    data = write_cache(_LIBRARIES)
    assert sorted(read_cache(data), key=lambda row: row.path) == sorted(_LIBRARIES, key=lambda row: row.path)
    assert write_cache(read_cache(data)) == data
    assert write_cache(list(reversed(_LIBRARIES))) == data


def test_order_is_by_number_descending() -> None:
    assert [row.soname for row in read_cache(write_cache(_LIBRARIES))][:8] == [
        "libz.so.10", "libz.so.9", "libz.so.1", "libb10.so.10", "libb10.so.9", "libb10.so.1", "libb2.so.10", "libb2.so.9",
    ]


def test_order_of_odd_names() -> None:
    # Only 0 to 9 are digits, bytes above 127 sort below all others, a digit sorts above any character.
    names = ["lib1", "liba", "lib", "lib\udcff", "lib٣"]
    rows = read_cache(write_cache([CacheLibrary(name, "/x", _X86_64) for name in names]))
    assert [row.soname for row in rows] == ["lib1", "liba", "lib", "lib\udcff", "lib٣"]


def test_old_formats() -> None:
    rows = _LIBRARIES[:3]
    assert read_cache(_old(rows)) == rows
    assert read_cache(_old(rows, write_cache(_LIBRARIES))) == read_cache(write_cache(_LIBRARIES))
    assert read_cache(_old(rows[:2], write_cache(_LIBRARIES), 4)) == read_cache(write_cache(_LIBRARIES))


def test_reduce_keeps_what_is_there() -> None:
    data = write_cache([*_LIBRARIES, CacheLibrary("libz.so.1", "/opt/hwcaps/libz.so.1", _X86_64)])
    kept = read_cache(reduce_cache(data, lambda path: path.startswith("/opt/z/")))
    assert [row.path for row in kept] == ["/opt/z/libz.so.10", "/opt/z/libz.so.9", "/opt/z/libz.so.1"]
    assert read_cache(reduce_cache(data, lambda _: False)) == []


def test_every_cut_and_every_changed_byte_is_survived() -> None:
    for data in (write_cache(_LIBRARIES[:3]), _old(_LIBRARIES[:3]), _old(_LIBRARIES[:2], write_cache(_LIBRARIES[:2]))):
        for position in range(len(data)):
            read_cache(data[:position])
            for value in (0, 0x7F, 0xFF):
                read_cache(data[:position] + bytes([value]) + data[position + 1:])


def test_long_strings_do_not_multiply() -> None:
    count = 20000
    base = 48 + 24 * count
    rows = struct.pack("<iIIIQ", _X86_64, base, base, 0, 0) * count
    data = b"glibc-ld.so.cache1.1" + struct.pack("<IIB3xI12x", count, 1 << 20, 2, 0) + rows + b"a" * (1 << 20) + b"\0"
    assert read_cache(data) == []


def test_ldconfig_lists_it(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(write_cache(_LIBRARIES))
    command = [_LDCONFIG, "-p", "-C", str(tmp_path / "cache")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in shown.stdout.splitlines() if "=>" in line] == [
        row.path for row in read_cache(write_cache(_LIBRARIES))
    ]
