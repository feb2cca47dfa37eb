"""bpf(2) without a compiler: programs as rows of data, a small assembler, hash and array maps, raw tracepoints.

A program is a list of instructions and labels; `assemble` turns it into struct bpf_insn. Nothing is pinned: maps,
programs and attachments are descriptors and go with the process that holds them, also after SIGKILL.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from .syscalls import syscall

_BPF = 321
_MAP_CREATE, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD, _RAW_TRACEPOINT_OPEN = 0, 2, 3, 5, 17
_HASH, _ARRAY = 1, 2
_RAW_TRACEPOINT = 17
_NO_PREALLOC, _MAPPABLE = 1, 1 << 10
_NAME = b"tracejail"  # of the programs, as bpftool shows them
_ATTRIBUTES = 128     # bytes: union bpf_attr up to what is used here; the kernel takes zeros behind what it knows
_LOG = 1 << 16

# Instruction codes, linux/bpf.h and linux/bpf_common.h: class | size or operation | source.
MOVE, MOVE_CONSTANT, ADD_CONSTANT, ADD = 0xBF, 0xB7, 0x07, 0x0F
MOVE_LOW, AND_CONSTANT, SHIFT_RIGHT = 0xBC, 0x57, 0x77    # MOVE_LOW: the low 32 bits, zeros above
LOAD_8, LOAD_1, STORE_8, STORE_4, STORE_CONSTANT_8, STORE_CONSTANT_1 = 0x79, 0x71, 0x7B, 0x63, 0x7A, 0x72
JUMP, JUMP_EQUAL, JUMP_NOT_EQUAL, JUMP_SET, JUMP_SET_REGISTER, JUMP_SIGNED_LESS = 0x05, 0x15, 0x55, 0x45, 0x4D, 0xC5
CALL, EXIT = 0x85, 0x95
LOAD_MAP = 0x18       # two slots: the address of a map (source 1) or of an array map's first value (source 2)
MAP, MAP_VALUE = 1, 2

# Helper functions, linux/bpf.h __BPF_FUNC_MAPPER.
MAP_LOOKUP, CURRENT_PID_TGID = 1, 14
READ_USER, READ_KERNEL, READ_USER_STRING, SEND_SIGNAL_THREAD = 112, 113, 114, 117


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; `offset` may be a label to jump to."""

    code: int
    target: int = 0
    source: int = 0
    offset: int | str = 0
    constant: int = 0


Line = Instruction | str   # a label stands for the instruction behind it


def assemble(lines: Iterable[Line]) -> list[Instruction]:
    """Labels resolved, the second slot of each LOAD_MAP put in. Raises KeyError for a label that is nowhere."""
    labels: dict[str, int] = {}
    code: list[Instruction] = []
    for line in lines:
        if isinstance(line, str):
            labels[line] = len(code)
            continue
        code.append(line)
        if line.code == LOAD_MAP:
            code.append(Instruction(0))
    return [
        Instruction(row.code, row.target, row.source, labels[row.offset] - at - 1, row.constant)
        if isinstance(row.offset, str) else row
        for at, row in enumerate(code)
    ]


def pack(program: Iterable[Instruction]) -> bytes:
    """An assembled program as an array of struct bpf_insn."""
    rows = []
    for row in program:
        assert isinstance(row.offset, int)
        rows.append(struct.pack("<BBhi", row.code, row.target | row.source << 4, row.offset, row.constant))
    return b"".join(rows)


def hash_map(key_size: int, entries: int) -> int:
    """A hash map with values of 8 bytes, as a descriptor; memory is taken as entries come. Raises OSError."""
    return _bpf(_MAP_CREATE, struct.pack("IIIII", _HASH, key_size, 8, entries, _NO_PREALLOC))


def shared_array(value_size: int, entries: int) -> tuple[int, mmap.mmap]:
    """An array map of zeroed values (whole words of 8 bytes), as a descriptor and as memory of this process: what is
    written there is seen by the programs without a system call (Linux 5.5). Raises OSError."""
    descriptor = _bpf(_MAP_CREATE, struct.pack("IIIII", _ARRAY, 4, value_size, entries, _MAPPABLE))
    try:
        return descriptor, mmap.mmap(descriptor, -(-value_size * entries // mmap.PAGESIZE) * mmap.PAGESIZE)
    except OSError:
        os.close(descriptor)
        raise


def put(map_fd: int, key: bytes, value: bytes) -> None:
    """Set an element. Raises OSError: E2BIG (the map is full), ENOMEM."""
    key_buffer, value_buffer = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    addresses = ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)
    _bpf(_MAP_UPDATE, struct.pack("IIQQQ", map_fd, 0, *addresses, 0))


def remove(map_fd: int, key: bytes) -> bool:
    """Take an element away; whether it was there."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    try:
        _bpf(_MAP_DELETE, struct.pack("IIQ", map_fd, 0, ctypes.addressof(key_buffer)))
    except FileNotFoundError:
        return False
    return True


def load(program: bytes) -> int:
    """Load a raw tracepoint program; a descriptor. Raises OSError with the verifier's last lines."""
    text = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"GPL")  # bpf_send_signal_thread and the probe reads are for GPL programs only
    log = ctypes.create_string_buffer(_LOG)
    addresses = ctypes.addressof(text), ctypes.addressof(licence)

    def attributes(level: int) -> bytes:
        where = (level, _LOG, ctypes.addressof(log)) if level else (0, 0, 0)
        return struct.pack("IIQQIIQII16s", _RAW_TRACEPOINT, len(program) // 8, *addresses, *where, 0, 0, _NAME)

    try:
        return _bpf(_PROG_LOAD, attributes(0))
    except OSError as error:
        try:
            return _bpf(_PROG_LOAD, attributes(1))
        except OSError:
            words = " / ".join(os.fsdecode(log.value).strip().splitlines()[-2:])
            raise OSError(error.errno, f"bpf: {os.strerror(error.errno or 0)} {words}".strip()) from None


def attach(program: int, tracepoint: str) -> int:
    """Attach a loaded program to a raw tracepoint; it stays until the descriptor that this gives is closed."""
    name = ctypes.create_string_buffer(tracepoint.encode())
    return _bpf(_RAW_TRACEPOINT_OPEN, struct.pack("QI", ctypes.addressof(name), program))


def _bpf(command: int, attributes: bytes) -> int:
    try:
        return syscall(_BPF, command, attributes.ljust(_ATTRIBUTES, b"\0"), _ATTRIBUTES)
    except OSError as error:
        raise OSError(error.errno, f"bpf: {os.strerror(error.errno or 0)}") from None
