"""The BPF programs of the miss-only engine, tried by a machine of our own: no kernel is asked."""

from __future__ import annotations

import errno
import os
import signal
import struct

import pytest

from tests.unit.bpf_machine import Machine
from tracejail.kernel import bpf
from tracejail.trace.miss_program import (
    FAILURES,
    LONG,
    NOWHERE,
    OURS,
    REAL,
    SHORT,
    SPECIAL,
    STAND_INS,
    TOLD,
    Maps,
    at_end,
    at_return,
)
from tracejail.trace.table import EVENTS, ROWS, Decode, Watch

MAPS = Maps(threads=3, inodes=4, short_paths=5, long_paths=6, words=7)
SIZES = {3: 4, 4: 8, 5: SHORT, 6: LONG}
PROGRAM = bpf.assemble(at_return(ROWS, MAPS))
EVERY_ERROR = bpf.assemble(at_return(ROWS, MAPS, ()))
AT_END = bpf.assemble(at_end(MAPS.threads))
NUMBERS = {row.name: row.x86_64 for row in ROWS if row.x86_64 is not None}
THREAD, PATH, BUFFER = 1234, 0x500000, 0x600000
ARGUMENTS = (112, 104, 96, 56, 72, 64)


def _value_of(number: int) -> bytes:
    return struct.pack("=I", number >> 3)


def _set_byte(threads: dict[bytes, int], number: int, byte: int) -> None:
    value = bytearray(threads[_value_of(number)].to_bytes(8, "little"))
    value[number & 7] = byte
    threads[_value_of(number)] = int.from_bytes(value, "little")


def _byte(threads: dict[bytes, int], number: int) -> int:
    return threads[_value_of(number)].to_bytes(8, "little")[number & 7]


def machine(words: tuple[int, int] = (0, 0), thread: int = THREAD, path: bytes = b"/etc/app.conf") -> Machine:
    maps: dict[int, dict[bytes, int]] = {number: {} for number in SIZES}
    maps[3] = {_value_of(number): 0 for number in range(0, 4096, 8)}
    _set_byte(maps[3], THREAD, OURS)
    return Machine(maps, words, thread, {PATH: path + b"\0"}, key_sizes=SIZES)


def registers(number: int, *words: int) -> bytes:
    data = bytearray(168)
    struct.pack_into("=Q", data, 120, number)
    for place, word in zip(ARGUMENTS, words, strict=False):
        struct.pack_into("=Q", data, place, word)
    return bytes(data)


def stops(kernel: Machine, name: str, result: int, *words: int, program: list[bpf.Instruction] = PROGRAM) -> bool:
    number = NUMBERS[name]
    assert number is not None
    before = len(kernel.signals)
    assert kernel.run(program, registers(number, *words), result) == 0
    sent = kernel.signals[before:]
    assert sent in ([], [signal.SIGSTOP])
    return bool(sent)


def key(name: str, path: bytes) -> tuple[int, bytes]:
    number = NUMBERS[name]
    assert number is not None
    whole = struct.pack("=Q", number) + path
    return (5, whole.ljust(SHORT, b"\0")) if len(whole) < SHORT - 1 else (6, whole.ljust(LONG, b"\0"))


def test_each_failure_of_each_call_stops_the_thread() -> None:
    for row in ROWS:
        if row.x86_64 is not None and row.decode not in (*EVENTS, Decode.LISTING):
            for code in FAILURES:
                assert stops(machine(), row.name, -code, PATH, PATH, PATH, PATH, PATH), (row.name, code)


def test_success_and_other_errors_do_not() -> None:
    kernel = machine()
    for row in ROWS:
        if row.x86_64 is not None:
            for result in (0, 3, -errno.EEXIST, -errno.EINTR, -512, -514):
                assert not stops(kernel, row.name, result, PATH, PATH, PATH, PATH)
    assert stops(machine(), "openat", -errno.EEXIST, 0, PATH, program=EVERY_ERROR)
    assert not stops(machine(), "openat", -512, 0, PATH, program=EVERY_ERROR)


def test_a_call_that_succeeds_costs_a_dozen_instructions() -> None:
    kernel = machine()
    assert not stops(kernel, "openat", 3, 0, PATH)
    assert kernel.steps <= 12


def test_other_processes_are_never_stopped() -> None:
    for words in ((0, 0), (STAND_INS, 0), (STAND_INS | SPECIAL, 5)):
        other = machine(words, thread=THREAD + 1)
        other.maps[4][struct.pack("=Q", 42)] = 0
        other.memory[BUFFER] = struct.pack("=QQ", 1, 42)
        for name in NUMBERS:
            for result in (0, 7, -errno.ENOENT, -errno.EACCES):
                assert not stops(other, name, result, PATH, BUFFER if "stat" in name else PATH, BUFFER, PATH, BUFFER)


@pytest.mark.parametrize(("name", "place", "at"), [
    ("stat", 1, 8), ("lstat", 1, 8), ("newfstatat", 2, 8), ("statx", 4, 32),
])
def test_a_look_at_a_stand_in_stops(name: str, place: int, at: int) -> None:
    words = [PATH, PATH, PATH, PATH, PATH]
    words[place] = BUFFER
    kernel = machine((STAND_INS, 0))
    kernel.memory[BUFFER] = bytes(at) + struct.pack("=Q", 42) + bytes(100)
    assert not stops(kernel, name, 0, *words)
    kernel.maps[4][struct.pack("=Q", 42)] = 0
    assert stops(kernel, name, 0, *words)
    kernel.words = (0, 0)
    assert not stops(kernel, name, 0, *words)


_LENGTHS = (1, 20, SHORT - 11, SHORT - 10, SHORT - 9, SHORT - 8, SHORT, 200, LONG - 10, LONG - 9, LONG, 4000)


@pytest.mark.parametrize("length", _LENGTHS)
def test_a_path_stops_until_it_is_known(length: int) -> None:
    path = b"/" + b"x" * (length - 1)
    kernel = machine((STAND_INS, 0), path=path)
    assert stops(kernel, "access", 0, PATH)
    where, whole = key("access", path)
    fits = len(whole) == SIZES[where]
    if fits:
        kernel.maps[where][whole] = REAL
    assert stops(kernel, "access", 0, PATH) is (length > LONG - 10)
    assert stops(kernel, "faccessat", 0, 0, PATH), "another call is another question"
    assert stops(kernel, "access", -errno.ENOENT, PATH), "that it is there does not say that it is not"


def test_what_is_nowhere_is_asked_once() -> None:
    kernel = machine(path=b"/nowhere")
    assert stops(kernel, "open", -errno.ENOENT, PATH)
    where, whole = key("open", b"/nowhere")
    kernel.maps[where][whole] = NOWHERE
    assert not stops(kernel, "open", -errno.ENOENT, PATH)
    assert not stops(kernel, "open", -errno.ENOTDIR, PATH)
    assert stops(kernel, "open", -errno.EACCES, PATH), "a refusal depends on who asks"
    assert stops(kernel, "stat", -errno.ENOENT, PATH)


def test_a_relative_or_unreadable_path_always_stops() -> None:
    kernel = machine((STAND_INS, 0), path=b"etc/app.conf")
    kernel.maps[5][key("access", b"etc/app.conf")[1]] = REAL | NOWHERE
    for result in (0, -errno.ENOENT):
        assert stops(kernel, "access", result, PATH)
        assert stops(kernel, "access", result, 0x9999)


def test_opens_stop_only_where_special_stand_ins_are() -> None:
    assert not stops(machine((STAND_INS, 0)), "openat", 3, 0, PATH)
    assert stops(machine((STAND_INS | SPECIAL, 0)), "openat", 3, 0, PATH)


def test_what_fails_on_a_thing_that_is_there_has_looked_at_it() -> None:
    assert stops(machine((STAND_INS, 0)), "readlink", -errno.EINVAL, PATH)
    assert not stops(machine(), "readlink", -errno.EINVAL, PATH)


def test_a_thread_that_is_told_stops_once_at_any_return() -> None:
    for result in (0, 5, -errno.EINTR, -errno.ENOENT):
        kernel = machine((0, 1))
        _set_byte(kernel.maps[3], THREAD, OURS | TOLD)
        assert stops(kernel, "unlink", result, PATH)
        assert _byte(kernel.maps[3], THREAD) == OURS
        kernel.words = (0, 0)
        assert not stops(kernel, "unlink", 0, PATH)
        assert not stops(machine((0, 1)), "unlink", 0, PATH)


def test_a_thread_that_ends_is_off_the_map() -> None:
    kernel = machine()
    _set_byte(kernel.maps[3], THREAD + 1, OURS)
    kernel.run(AT_END, registers(60), 0)
    assert (_byte(kernel.maps[3], THREAD), _byte(kernel.maps[3], THREAD + 1)) == (0, OURS)
    beyond = machine(thread=4096)
    beyond.run(AT_END, registers(60), 0)
    assert _byte(beyond.maps[3], THREAD) == OURS


def test_instructions_are_packed_as_the_kernel_wants_them() -> None:
    packed = bpf.pack(PROGRAM)
    assert len(packed) == 8 * len(PROGRAM)
    lines = [bpf.Instruction(bpf.MOVE_CONSTANT, 1, 0, 0, -2), "end", bpf.Instruction(bpf.JUMP, 0, 0, "end")]
    assert bpf.pack(bpf.assemble(lines)) == bytes.fromhex("b701 0000 feffffff 0500 ffff 00000000")
    wide = bpf.assemble([bpf.Instruction(bpf.JUMP, 0, 0, "out"), bpf.Instruction(bpf.LOAD_MAP, 1, bpf.MAP, 0, 9), "out"])
    assert wide[0].offset == 2 and len(wide) == 3
    with pytest.raises(KeyError):
        bpf.assemble([bpf.Instruction(bpf.JUMP, 0, 0, "nowhere")])


def test_every_watched_call_tells_where_to_look() -> None:
    for row in ROWS:
        if row.watch is Watch.INODE:
            assert row.inode is not None and row.x86_64 is not None, row.name
        if row.watch in (Watch.PATH, Watch.FANOTIFY_OR_PATH):
            assert row.paths or row.x86_64 is None, row.name
    assert os.O_CREAT == 0o100
