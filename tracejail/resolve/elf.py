"""ELF files: the interpreter (read by hand, as it is asked at each exec) and all else by pyelftools.

The one module that imports elftools.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

_PT_INTERP = 3
_MACHINES = {
    "EM_X86_64": "x86-64", "EM_386": "i386", "EM_AARCH64": "aarch64", "EM_ARM": "arm", "EM_RISCV": "riscv",
    "EM_PPC64": "powerpc64", "EM_S390": "s390", "EM_MIPS": "mips",
}
_LONGEST_NAME = 4096
_MOST_HEADERS = 1024


@dataclass(frozen=True, slots=True)
class ElfFacts:
    """What the loader asks of a file. `bits` is 32 or 64 (x32 is x86-64 with 32)."""

    machine: str
    bits: int
    interpreter: str
    needed: tuple[str, ...]
    soname: str
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]


def program_interpreter(fd: int) -> str | None:
    """PT_INTERP of an ELF file, None where it has none or is no sound ELF file (elf(5))."""
    header = os.pread(fd, 64, 0)
    if len(header) < 52 or header[:4] != b"\x7fELF" or header[4] not in (1, 2) or header[5] not in (1, 2):
        return None
    order = "<" if header[5] == 1 else ">"
    wide = header[4] == 2
    try:
        if wide:
            offset, size, count = *struct.unpack_from(order + "Q", header, 32), *struct.unpack_from(order + "HH", header, 54)
        else:
            offset, size, count = *struct.unpack_from(order + "I", header, 28), *struct.unpack_from(order + "HH", header, 42)
        if size < (56 if wide else 32) or count > _MOST_HEADERS or offset >= 1 << 62:
            return None
        table = os.pread(fd, size * count, offset)
        for index in range(len(table) // size):
            kind = struct.unpack_from(order + "I", table, index * size)[0]
            if kind == _PT_INTERP:
                if wide:
                    where, length = *struct.unpack_from(order + "Q", table, index * size + 8), *struct.unpack_from(order + "Q", table, index * size + 32)
                else:
                    where, length = *struct.unpack_from(order + "I", table, index * size + 4), *struct.unpack_from(order + "I", table, index * size + 16)
                if length > _LONGEST_NAME or where >= 1 << 62:
                    return None
                name = os.pread(fd, length, where).split(b"\0")[0]
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
        for segment in file.iter_segments():
            if segment["p_type"] == "PT_INTERP":
                interpreter = segment.get_interp_name()
            elif isinstance(segment, DynamicSegment):
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
        return ElfFacts(machine, file.elfclass, interpreter, tuple(needed), soname, rpath, runpath)
    except Exception:  # a hostile file makes the parser raise anything; it is then no file that a loader takes
        return None
