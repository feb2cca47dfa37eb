"""ELF files: the interpreter (read by hand, as it is asked at each exec) and all else by pyelftools.

The one module that imports elftools.
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO, NamedTuple

_PT_INTERP = 3
_MACHINES = {
    "EM_X86_64": "x86-64", "EM_386": "i386", "EM_AARCH64": "aarch64", "EM_ARM": "arm", "EM_RISCV": "riscv",
    "EM_PPC64": "powerpc64", "EM_S390": "s390", "EM_MIPS": "mips",
}
_LONGEST_NAME = 4096
_MOST_HEADERS = 1024


class ElfFacts(NamedTuple):
    """What the loader asks of a file. `bits` is 32 or 64 (x32 is x86-64 with 32)."""

    machine: str
    bits: int
    interpreter: str
    needed: tuple[str, ...]
    soname: str
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    code: int | None = None   # e_machine as a number
    is_dynamic: bool = False  # it has a dynamic section, so a loader looks at it (a static-pie too: see `interpreter`)
    end: int = 0              # bytes that the file must have for all that is mapped of it


class _Layout(NamedTuple):
    """Where elf(5) has what, for one class: offsets and formats of header and program header."""

    header: tuple[str, int]     # e_phoff
    sizes: int                  # e_phentsize, e_phnum
    smallest: int               # of a program header
    place: tuple[str, int]      # p_offset
    length: tuple[str, int]     # p_filesz


_LAYOUTS = {1: _Layout(("I", 28), 42, 32, ("I", 4), ("I", 16)), 2: _Layout(("Q", 32), 54, 56, ("Q", 8), ("Q", 32))}


def program_interpreter(fd: int) -> str | None:
    """PT_INTERP of an ELF file, None where it has none or is no sound ELF file (elf(5))."""
    header = os.pread(fd, 64, 0)
    layout = _LAYOUTS.get(header[4]) if len(header) >= 52 and header[:4] == b"\x7fELF" else None
    if layout is None or header[5] not in (1, 2):
        return None
    order = "<" if header[5] == 1 else ">"

    def number(data: bytes, where: tuple[str, int], start: int = 0) -> int:
        return int(struct.unpack_from(order + where[0], data, start + where[1])[0])

    try:
        offset = number(header, layout.header)
        size, count = struct.unpack_from(order + "HH", header, layout.sizes)
        if size < layout.smallest or count > _MOST_HEADERS:
            return None
        table = os.pread(fd, size * count, offset)
        for start in range(0, len(table) - size + 1, size):
            if number(table, ("I", 0), start) == _PT_INTERP:
                length = min(number(table, layout.length, start), _LONGEST_NAME)
                name = os.pread(fd, length, number(table, layout.place, start)).split(b"\0")[0]
                return os.fsdecode(name) or None
    except (struct.error, OSError, OverflowError):
        return None
    return None


def read_elf(stream: BinaryIO) -> ElfFacts | None:
    """The loader's facts of a file; None where it is no ELF file, or one too broken to load."""
    if stream.read(4) != b"\x7fELF":
        return None
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

    try:
        file = ELFFile(stream)
        interpreter, needed, soname, rpath, runpath = "", [], "", (), ()
        dynamic, end = False, 0
        segment: Any
        for segment in file.iter_segments():
            end = max(end, segment["p_offset"] + segment["p_filesz"])
            if segment["p_type"] == "PT_INTERP":
                interpreter = segment.get_interp_name()
            elif isinstance(segment, DynamicSegment):
                dynamic = True
                tag: Any
                for tag in segment.iter_tags():
                    match tag.entry.d_tag:
                        case "DT_NEEDED":
                            needed.append(tag.needed)
                        case "DT_SONAME":
                            soname = tag.soname
                        case "DT_RPATH":
                            rpath = tuple(tag.rpath.split(":"))
                        case "DT_RUNPATH":
                            runpath = tuple(tag.runpath.split(":"))
        machine = _MACHINES.get(file["e_machine"], str(file["e_machine"]))
        stream.seek(18)
        code = int.from_bytes(stream.read(2), "little" if file.little_endian else "big")
        return ElfFacts(machine, file.elfclass, interpreter, tuple(needed), soname, rpath, runpath, code, dynamic, end)
    except Exception:  # a hostile file makes the parser raise anything; it is then no file that a loader takes
        return None
