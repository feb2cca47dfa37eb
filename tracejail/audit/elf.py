"""What an ELF file is for the kernel, by its first bytes alone (elf(5))."""

from __future__ import annotations

import struct

_MAGIC = b"\x7fELF"
_IDENTITIES = frozenset(bytes((wide, order, 1)) for wide in (1, 2) for order in (1, 2))
_EXECUTABLE, _SHARED, _CORE = 2, 3, 4
_PT_DYNAMIC, _PT_INTERP = 2, 3
_DT_FLAGS_1, _DF_1_PIE = 0x6FFFFFFB, 0x08000000
_MOST_HEADERS, _MOST_TAGS = 256, 512


def shape(data: bytes) -> str:
    """program, library, core or object; "" for what is no ELF file. `data` is the file, or as much of it as there is."""
    if data[:4] != _MAGIC or len(data) < 20:
        return ""
    order, wide = _layout(data)
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


def is_odd(data: bytes) -> bool:
    """Whether an ELF file says of itself in its first bytes what it is not: the kernel does not read them, other tools do."""
    if data[:4] != _MAGIC or len(data) < 20:
        return False
    return data[4:7] not in _IDENTITIES or _layout(data) != _declared(data)


def _declared(data: bytes) -> tuple[str, bool]:
    return ">" if data[5] == 2 else "<", data[4] == 2


def _layout(data: bytes) -> tuple[str, bool]:
    """Byte order and whether it is of 64 bits: by the size of a program header, as it is that which the kernel goes by."""
    said = _declared(data)
    for order, wide in (said, ("<", True), ("<", False), (">", True), (">", False)):
        at, size = (54, 56) if wide else (42, 32)
        if len(data) >= at + 2 and struct.unpack_from(order + "H", data, at)[0] == size:
            return order, wide
    return said


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


def _says_so(data: bytes, start: int, layout: str) -> bool:
    size = struct.calcsize(layout)
    for index in range(_MOST_TAGS):
        tag, value = struct.unpack_from(layout, data, start + index * size)
        if not tag:
            return False
        if tag & 0xFFFFFFFF == _DT_FLAGS_1:
            return bool(value & _DF_1_PIE)
    return False
