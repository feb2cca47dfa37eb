"""What an ELF file is for the kernel, by its first bytes alone (elf(5))."""

from __future__ import annotations

import struct

_EXECUTABLE, _SHARED, _CORE = 2, 3, 4
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_PF_X, _PF_W = 1, 2
_DT_FLAGS_1, _DF_1_PIE = 0x6FFFFFFB, 0x08000000
_MOST_HEADERS, _MOST_TAGS = 256, 512


def shape(data: bytes) -> str:
    """program, library, core or object; "" for what is no ELF file. `data` is the file, or as much of it as there is."""
    if data[:4] != b"\x7fELF" or len(data) < 20:
        return ""
    order = ">" if data[5:6] == b"\2" else "<"
    wide = data[4:5] == b"\2"
    (kind,) = struct.unpack_from(order + "H", data, 16)
    if kind == _CORE:
        return "core"
    if kind == _EXECUTABLE:
        return "program"
    if kind != _SHARED:
        return "object"
    try:
        return "program" if _is_program(data, order, wide) else "library"
    except (struct.error, OverflowError):   # an offset that no file has
        return "library"


def _is_program(data: bytes, order: str, wide: bool) -> bool:
    """Whether it is a position-independent executable: it has an interpreter, or says so (a static one)."""
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    for index in range(min(count, _MOST_HEADERS)):
        at = table + index * size
        (kind,) = struct.unpack_from(order + "I", data, at)
        if kind == _PT_INTERP:
            return True
        if kind == _PT_DYNAMIC:
            word = order + ("Q" if wide else "I")
            (start,) = struct.unpack_from(word, data, at + (8 if wide else 4))
            if _says_so(data, start, order + ("qQ" if wide else "iI")):
                return True
    return False


def constants(data: bytes) -> bytes:
    """Where the strings of a program are: what is mapped, and not as code. All of it where code and constants are mapped
    together, as older linkers do."""
    order = ">" if data[5:6] == b"\2" else "<"
    wide = data[4:5] == b"\2"
    parts: list[bytes] = []
    closed = 0     # segments that are neither code nor written
    try:
        (table,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
        for index in range(min(count, _MOST_HEADERS)):
            at = table + index * size
            (kind,) = struct.unpack_from(order + "I", data, at)
            (flags,) = struct.unpack_from(order + "I", data, at + (4 if wide else 24))
            (start,) = struct.unpack_from(order + ("Q" if wide else "I"), data, at + (8 if wide else 4))
            (length,) = struct.unpack_from(order + ("Q" if wide else "I"), data, at + (32 if wide else 16))
            if kind == _PT_LOAD and not flags & _PF_X:
                closed += not flags & _PF_W
                parts.append(data[start : start + length])
    except (struct.error, OverflowError):
        return data
    # The first such segment has headers and names alone; a second one the constants.
    return b"".join(parts) if closed > 1 else data


def _says_so(data: bytes, start: int, layout: str) -> bool:
    size = struct.calcsize(layout)
    for index in range(_MOST_TAGS):
        tag, value = struct.unpack_from(layout, data, start + index * size)
        if not tag:
            return False
        if tag & 0xFFFFFFFF == _DT_FLAGS_1:
            return bool(value & _DF_1_PIE)
    return False
