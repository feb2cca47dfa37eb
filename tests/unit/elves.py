"""Small ELF files for the unit tests: headers, an interpreter and a dynamic section, no code (elf(5))."""

from __future__ import annotations

import os
import struct

_TAGS = {"needed": 1, "soname": 14, "rpath": 15, "runpath": 29}
_STRTAB, _STRSZ, _NULL = 5, 10, 0
X86_64, I386, AARCH64 = 62, 3, 183


def elf(
    interpreter: str = "",
    *,
    needed: tuple[str, ...] = (),
    soname: str = "",
    rpath: str = "",
    runpath: str = "",
    machine: int = X86_64,
    bits: int = 64,
) -> bytes:
    """A little-endian shared object or program, loaded at address 0 so that addresses are file offsets."""
    word, header_size, row_size = ("Q", 64, 56) if bits == 64 else ("I", 52, 32)
    strings = b"\0"
    tags: list[tuple[int, int]] = []
    asked = [("needed", name) for name in needed]
    asked += [(tag, text) for tag, text in (("soname", soname), ("rpath", rpath), ("runpath", runpath)) if text]
    for tag, text in asked:
        tags.append((_TAGS[tag], len(strings)))
        strings += text.encode() + b"\0"
    at = header_size + 3 * row_size
    name = os.fsencode(interpreter) + b"\0" if interpreter else b""
    tags += [(_STRTAB, at + len(name)), (_STRSZ, len(strings)), (_NULL, 0)]
    dynamic = b"".join(struct.pack("<" + word * 2, *tag) for tag in tags)
    dynamic_at = at + len(name) + len(strings)
    size = dynamic_at + len(dynamic)
    rows = [_row(bits, 1, 0, size), _row(bits, 2, dynamic_at, len(dynamic))]
    if interpreter:
        rows.append(_row(bits, 3, at, len(name)))
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + bytes(9)
    header = ident + struct.pack(
        "<HHI" + word * 3 + "IHHHHHH", 3, machine, 1, 0, header_size, 0, 0, header_size, row_size, len(rows), 0, 0, 0
    )
    return (header + b"".join(rows)).ljust(at, b"\0") + name + strings + dynamic


def _row(bits: int, kind: int, offset: int, size: int) -> bytes:
    if bits == 64:
        return struct.pack("<IIQQQQQQ", kind, 5, offset, offset, offset, size, size, 8)
    return struct.pack("<IIIIIIII", kind, offset, offset, offset, size, size, 5, 4)
