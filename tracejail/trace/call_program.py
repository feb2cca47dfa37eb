"""The BPF program that notes which system calls a target makes, as data: pure.

It runs at each entry of a system call (raw tracepoint sys_enter), and only where that was asked for: it costs each call of
the machine some 10 ns while it is there. Its context: the registers' address, the call's number.
"""

from __future__ import annotations

from tracejail.kernel.bpf import (
    CALL,
    EXIT,
    JUMP_EQUAL,
    LOAD_1,
    LOAD_8,
    MAP_LOOKUP,
    MOVE,
    MOVE_CONSTANT,
    STORE_4,
    STORE_CONSTANT_1,
    Instruction,
    Line,
)

from .miss_program import KEY, byte_of_thread, key

MOST_CALLS = 1024   # numbers are less; those of x32 begin at 0x40000000


def at_entry(threads: int, calls: int) -> list[Line]:
    """`threads` has a byte for each thread that counts, `calls` one for each number."""
    return [
        Instruction(MOVE, 6, 1),
        Instruction(LOAD_8, 7, 6, 8),
        *byte_of_thread(threads),
        Instruction(LOAD_1, 1, 0, 0),
        Instruction(JUMP_EQUAL, 1, 0, "out"),
        Instruction(STORE_4, 10, 7, KEY),
        *key(calls, KEY),
        Instruction(CALL, constant=MAP_LOOKUP),
        Instruction(JUMP_EQUAL, 0, 0, "out"),   # no such number
        Instruction(STORE_CONSTANT_1, 0, 0, 0, 1),
        "out",
        Instruction(MOVE_CONSTANT, 0),
        Instruction(EXIT),
    ]
