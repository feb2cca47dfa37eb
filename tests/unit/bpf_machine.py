"""A machine for the BPF programs of this project: registers, a stack, helpers that answer from Python values."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tracejail.kernel import bpf

_MASK = (1 << 64) - 1
_CONTEXT, _REGISTERS, _WORDS, _VALUES, _STACK = 0x1000, 0x2000, 0x3000, 0x10000, 0x8000


def signed(word: int) -> int:
    """A register as a signed number."""
    return word - (1 << 64) if word >> 63 else word


@dataclass
class Machine:
    """The kernel around a program: its maps by descriptor, user memory by address, and the signals that it sent."""

    maps: dict[int, dict[bytes, int]]
    words: tuple[int, int] = (0, 0)
    thread: int = 1
    memory: dict[int, bytes] = field(default_factory=dict)
    signals: list[int] = field(default_factory=list)
    steps: int = 0
    key_sizes: dict[int, int] = field(default_factory=dict)

    def run(self, program: list[bpf.Instruction], registers: bytes, result: int) -> int:
        """Run an assembled program on a call's registers and result; gives what it returns."""
        self._stack = bytearray(512)
        self._registers_of_call = registers
        self._pointers: dict[int, tuple[int, bytes]] = {}
        self._context = struct.pack("=Qq", _REGISTERS, result)
        register = [0] * 11
        register[1], register[10] = _CONTEXT, _STACK
        at = 0
        while True:
            row = program[at]
            self.steps += 1
            at += 1
            code, target, source, constant = row.code, row.target, row.source, row.constant
            offset = row.offset
            assert isinstance(offset, int)
            if code == bpf.EXIT:
                return register[0]
            if code == bpf.MOVE:
                register[target] = register[source]
            elif code == bpf.MOVE_CONSTANT:
                register[target] = constant & _MASK
            elif code == bpf.MOVE_LOW:
                register[target] = register[source] & 0xFFFFFFFF
            elif code in (bpf.ADD_CONSTANT, bpf.ADD):
                more = constant if code == bpf.ADD_CONSTANT else register[source]
                register[target] = (register[target] + more) & _MASK
            elif code == bpf.AND_CONSTANT:
                register[target] &= constant
            elif code == bpf.SHIFT_RIGHT:
                register[target] >>= constant
            elif code == bpf.LOAD_MAP:
                register[target] = _WORDS if source == bpf.MAP_VALUE else constant
                at += 1
            elif code in (bpf.LOAD_8, bpf.LOAD_1):
                size = 8 if code == bpf.LOAD_8 else 1
                register[target] = int.from_bytes(self._load(register[source] + offset, size), "little")
            elif code in (bpf.STORE_8, bpf.STORE_4, bpf.STORE_CONSTANT_8, bpf.STORE_CONSTANT_1):
                size = {bpf.STORE_4: 4, bpf.STORE_CONSTANT_1: 1}.get(code, 8)
                value = constant if code in (bpf.STORE_CONSTANT_8, bpf.STORE_CONSTANT_1) else register[source]
                self._store(register[target] + offset, (value & _MASK).to_bytes(8, "little")[:size])
            elif code == bpf.CALL:
                register[0] = self._call(constant, register)
                register[1:6] = [0xDEAD] * 5  # a program that counts on them is wrong
            elif self._jumps(code, register, target, source, constant):
                at += offset

    def _jumps(self, code: int, register: list[int], target: int, source: int, constant: int) -> bool:
        wide = constant & _MASK
        return {
            bpf.JUMP: True,
            bpf.JUMP_EQUAL: register[target] == wide,
            bpf.JUMP_NOT_EQUAL: register[target] != wide,
            bpf.JUMP_SET: bool(register[target] & wide),
            bpf.JUMP_SET_REGISTER: bool(register[target] & register[source]),
            bpf.JUMP_SIGNED_LESS: signed(register[target]) < constant,
        }[code]

    def _load(self, address: int, size: int) -> bytes:
        if _CONTEXT <= address < _CONTEXT + 16:
            return self._context[address - _CONTEXT :][:size]
        if _WORDS <= address < _WORDS + 16:
            return struct.pack("=QQ", *self.words)[address - _WORDS :][:size]
        if _STACK - 512 <= address < _STACK:
            return bytes(self._stack[address - _STACK + 512 :][:size])
        of_map, key = self._pointers[address & ~7]
        return self.maps[of_map][key].to_bytes(8, "little")[address & 7 :][:size]

    def _store(self, address: int, data: bytes) -> None:
        if _STACK - 512 <= address < _STACK:
            at = address - _STACK + 512
            self._stack[at : at + len(data)] = data
        else:
            of_map, key = self._pointers[address & ~7]
            value = bytearray(self.maps[of_map][key].to_bytes(8, "little"))
            value[address & 7 : (address & 7) + len(data)] = data
            self.maps[of_map][key] = int.from_bytes(value, "little")

    def _call(self, helper: int, register: list[int]) -> int:
        one, two, three = register[1:4]
        if helper == bpf.CURRENT_PID_TGID:
            return 77 << 32 | self.thread
        if helper == bpf.MAP_LOOKUP:
            key = self._load(two, self.key_sizes[one])
            if key not in self.maps[one]:
                return 0
            pointer = _VALUES + 8 * len(self._pointers)
            self._pointers[pointer] = (one, key)
            return pointer
        if helper == bpf.READ_KERNEL:
            self._store(one, self._registers_of_call[three - _REGISTERS :][:two])
            return 0
        if helper in (bpf.READ_USER, bpf.READ_USER_STRING):
            found = (text[three - start :] for start, text in self.memory.items() if start <= three < start + len(text))
            data = next(found, None)
            if data is None:
                return -14 & _MASK
            if helper == bpf.READ_USER:
                self._store(one, data[:two])
                return 0
            text = data.split(b"\0")[0][: two - 1] + b"\0"
            self._store(one, text)
            return len(text)
        assert helper == bpf.SEND_SIGNAL_THREAD
        self.signals.append(one)
        return 0
