"""seccomp filters as pure values: classic BPF made from a set of call numbers, and its installation.

A filter names, for each architecture, the calls that stop at the tracer (SECCOMP_RET_TRACE), the calls that get an
errno, and the calls that stop only if an argument says so; all others pass without a stop.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from .syscalls import libc, syscall

_LOAD, _JEQ, _JGE, _JSET, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16   # struct seccomp_data, linux/seccomp.h
_ALLOW, _TRACE, _ERRNO = 0x7FFF0000, 0x7FF00000, 0x00050000
_X32_BIT = 0x40000000
_SYS_SECCOMP, _SET_MODE_FILTER = 317, 1
_PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True, slots=True)
class Trace:
    """Stop always, or only where argument `argument` has one of the bits `mask`, or where one of the `cases`
    (bits, value) holds: the low half of it, cut to the bits, is the value."""

    argument: int = 0
    mask: int = 0
    cases: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """Give this errno and do not make the call."""

    code: int = errno.ENOSYS


Action = Trace | Refuse
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def assemble(rules: Mapping[int, Mapping[int, Action]]) -> list[Instruction]:
    """The filter for {AUDIT_ARCH_*: {number: action}}. x32 numbers (bit 30) get ENOSYS; an architecture that is not
    named passes. A binary search over the numbers: about seven comparisons a call, and none where the kernel's
    own cache of constant answers (seccomp bitmap, Linux 5.11) has the call.
    """
    blocks = [(architecture, _for_architecture(actions)) for architecture, actions in rules.items()]
    program: list[Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE_AT)]
    for architecture, block in blocks:
        # A conditional jump reaches 255 instructions at most: jump over an unconditional one instead.
        program.append((_JEQ, 1, 0, architecture))
        program.append((0x05, 0, 0, len(block)))
        program.extend(block)
    program.append((_RETURN, 0, 0, _ALLOW))
    return program


def _for_architecture(actions: Mapping[int, Action]) -> list[Instruction]:
    start: list[Instruction] = [
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JGE, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    # The kernel remembers the answer to a call whose arguments do not count; the others are the ones that come here.
    first = {
        number: action for number, action in actions.items()
        if isinstance(action, Trace) and (action.mask or action.cases)
    }
    rest = sorted((number, action) for number, action in actions.items() if number not in first)
    program = list(start)
    for number, action in first.items():
        steps = _act(action)
        program += [(_JEQ, 0, len(steps), number), *steps]
    return program + _search(rest)


def _search(rows: list[tuple[int, Action]]) -> list[Instruction]:
    if len(rows) > 3:
        middle = len(rows) // 2
        low, high = _search(rows[:middle]), _search(rows[middle:])
        return [(_JGE, 0, 1, rows[middle][0]), (0x05, 0, 0, len(low)), *low, *high]
    program: list[Instruction] = []
    for number, action in rows:
        steps = _act(action)
        program += [(_JEQ, 0, len(steps), number), *steps]
    program.append((_RETURN, 0, 0, _ALLOW))
    return program


def _act(action: Action) -> list[Instruction]:
    if isinstance(action, Refuse):
        return [(_RETURN, 0, 0, _ERRNO | action.code)]
    low = _ARGUMENTS_AT + 8 * action.argument
    if action.cases:
        steps: list[Instruction] = []
        some = 0
        for _, value in action.cases:
            some = some | value if value and some >= 0 else -1
        if some > 0:  # most calls have none of the bits, and are through with two steps
            steps = [(_LOAD, 0, 0, low), (_JSET, 1, 0, some), (_RETURN, 0, 0, _ALLOW)]
        for at, (bits, value) in enumerate(action.cases):
            left = 3 * (len(action.cases) - at - 1) + 1
            steps += [(_LOAD, 0, 0, low), (_AND, 0, 0, bits), (_JEQ, left, 0, value)]
        return [*steps, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _TRACE)]
    if not action.mask:
        return [(_RETURN, 0, 0, _TRACE)]
    return [
        (_LOAD, 0, 0, low),
        (_JSET, 3, 0, action.mask & 0xFFFFFFFF),
        (_LOAD, 0, 0, low + 4),
        (_JSET, 1, 0, action.mask >> 32),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _TRACE),
    ]


def answering(answers: Mapping[int, Mapping[int, int]], default: int, others: int) -> list[Instruction]:
    """The filter that gives a SECCOMP_RET_* word for each call of {AUDIT_ARCH_*: {number: word}}, `default` for the other calls
    of these architectures, and `others` for those of all others, x32 with them."""
    program: list[Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE_AT)]
    for architecture, words in answers.items():
        block = [(_LOAD, 0, 0, _NUMBER_AT), (_JGE, 0, 1, _X32_BIT), (_RETURN, 0, 0, others)]
        block += _look_up(sorted(words.items()), default)
        program += [(_JEQ, 1, 0, architecture), (0x05, 0, 0, len(block)), *block]
    program.append((_RETURN, 0, 0, others))
    return program


def _look_up(rows: list[tuple[int, int]], default: int) -> list[Instruction]:
    if len(rows) > 3:
        middle = len(rows) // 2
        low, high = _look_up(rows[:middle], default), _look_up(rows[middle:], default)
        return [(_JGE, 0, 1, rows[middle][0]), (0x05, 0, 0, len(low)), *low, *high]
    program: list[Instruction] = []
    for number, word in rows:
        program += [(_JEQ, 0, 1, number), (_RETURN, 0, 0, word)]
    program.append((_RETURN, 0, 0, default))
    return program


def simulate(program: list[Instruction], architecture: int, number: int, words: tuple[int, ...] = ()) -> int:
    """What the filter answers for a call: the whole SECCOMP_RET_* word. For tests; no kernel is asked."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(tuple(words) + (0,) * 6)[:6])
    accumulator, position = 0, 0
    while True:
        code, true, false, constant = program[position]
        position += 1
        if code == _LOAD:
            accumulator = struct.unpack_from("=I", data, constant)[0]
        elif code == _RETURN:
            return constant
        elif code == 0x05:
            position += constant
        elif code == _AND:
            accumulator &= constant
        else:
            hit = {_JEQ: accumulator == constant, _JGE: accumulator >= constant, _JSET: bool(accumulator & constant)}
            position += true if hit[code] else false


def pack(program: list[Instruction]) -> bytes:
    """The filter as an array of struct sock_filter."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def install(packed: bytes, privileged: bool) -> None:
    """Put the filter on the calling thread; without CAP_SYS_ADMIN (`privileged` false) no_new_privs comes first.

    Raises OSError as seccomp(2).
    """
    if not privileged:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    text = ctypes.create_string_buffer(packed, len(packed))
    header = struct.pack("HxxxxxxQ", len(packed) // 8, ctypes.addressof(text))
    try:
        syscall(_SYS_SECCOMP, _SET_MODE_FILTER, 0, header)
    except OSError as error:
        raise OSError(error.errno, "seccomp: " + os.strerror(error.errno or 0)) from None
