"""ELF facts, and that no file, however broken, raises."""

from __future__ import annotations

import io
import os
import struct
import tempfile
from pathlib import Path

import pytest
from elves import AARCH64, I386, X86_64, elf

from tracejail.resolve.elf import program_interpreter, read_elf

LOADER = "/lib64/ld-linux-x86-64.so.2"


def interpreter_of(data: bytes) -> str | None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return program_interpreter(file.fileno())


def test_facts() -> None:
    data = elf(LOADER, needed=("liba.so.1", "libc.so.6"), soname="me", rpath="/r:$ORIGIN", runpath="/q")
    facts = read_elf(io.BytesIO(data))
    assert facts is not None
    assert (facts.machine, facts.bits, facts.interpreter) == ("x86-64", 64, LOADER)
    assert (facts.needed, facts.soname) == (("liba.so.1", "libc.so.6"), "me")
    assert (facts.rpath, facts.runpath, facts.is_dynamic) == (("/r", "$ORIGIN"), ("/q",), True)


@pytest.mark.parametrize(
    ("machine", "bits", "name"), [(X86_64, 64, "x86-64"), (X86_64, 32, "x86-64"), (I386, 32, "i386"), (AARCH64, 64, "aarch64")]
)
def test_machines(machine: int, bits: int, name: str) -> None:
    data = elf(LOADER, machine=machine, bits=bits)
    facts = read_elf(io.BytesIO(data))
    assert facts is not None and (facts.machine, facts.bits, facts.code) == (name, bits, machine)
    assert interpreter_of(data) == LOADER


def test_a_library_has_no_interpreter() -> None:
    assert interpreter_of(elf(soname="lib.so")) is None


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF" + bytes(100), b"\x7fELF" + b"\xff" * 100])
def test_no_elf(data: bytes) -> None:
    assert read_elf(io.BytesIO(data)) is None
    assert interpreter_of(data) is None


def test_both_readers_agree_on_real_files() -> None:
    seen = set()
    for directory in ("/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu"):
        for path in sorted(Path(directory).iterdir())[:150]:
            if path.is_file():
                with path.open("rb") as stream:
                    facts = read_elf(stream)
                    found = program_interpreter(stream.fileno())
                assert found == (facts.interpreter or None if facts else None), path
                seen.add(found)
    assert LOADER in seen and None in seen


@pytest.mark.parametrize("bits", [32, 64])
def test_odd_places_of_the_interpreter(bits: int) -> None:
    data = bytearray(elf(LOADER, bits=bits))
    sizes = 54 if bits == 64 else 42
    assert interpreter_of(bytes(data)) == LOADER
    for size, count in ((0, 3), (8, 3), (65535, 3), (56 if bits == 64 else 32, 0), (56 if bits == 64 else 32, 65535)):
        struct.pack_into("<HH", data, sizes, size, count)
        assert interpreter_of(bytes(data)) is None
    whole = elf(LOADER, bits=bits)
    assert interpreter_of(whole[: len(whole) - 16]) == LOADER, "the interpreter does not need what is behind it"
    assert interpreter_of(whole[:60]) is None
    assert interpreter_of(elf("", bits=bits)) is None and interpreter_of(elf("\udcff", bits=bits)) == "\udcff"
    assert interpreter_of(elf("/" + "x" * 5000, bits=bits)) == "/" + "x" * 4095


def test_a_big_endian_file() -> None:
    row = struct.pack(">IIQQQQQQ", 3, 4, 120, 0, 0, 4, 4, 1)
    header = b"\x7fELF\x02\x02\x01" + bytes(9) + struct.pack(">HHIQQQIHHHHHH", 3, 22, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    assert interpreter_of(header + row + b"/ld\0") == "/ld"


def test_every_cut_and_every_changed_byte_is_survived() -> None:
    data = elf(LOADER, needed=("liba.so.1",), runpath="/q")
    with tempfile.TemporaryFile() as file:
        for position in range(len(data)):
            changed = [data[:position] + bytes([value]) + data[position + 1:] for value in (0, 0x7F, 0xFF)]
            for broken in (data[:position], *changed):
                read_elf(io.BytesIO(broken))
                os.ftruncate(file.fileno(), 0)
                os.pwrite(file.fileno(), broken, 0)
                program_interpreter(file.fileno())
