"""The BPF programs of the miss-only engine, as data: pure.

One runs at each return of a system call (raw tracepoint sys_exit) and stops the calling thread by SIGSTOP, which can't be
blocked, where the call is worth a look: it failed as a missing file makes it fail, or it looked at a stand-in. A call
that succeeds costs a dozen instructions; only while there are stand-ins does it cost more. The other one runs at the
end of each thread (sched_process_exit) and takes it off the map, so that no later owner of its number is ever stopped.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from tracejail.kernel.bpf import (
    ADD,
    ADD_CONSTANT,
    AND_CONSTANT,
    CALL,
    CURRENT_PID_TGID,
    EXIT,
    JUMP,
    JUMP_EQUAL,
    JUMP_NOT_EQUAL,
    JUMP_SET,
    JUMP_SET_REGISTER,
    JUMP_SIGNED_LESS,
    LOAD_1,
    LOAD_8,
    LOAD_MAP,
    MAP,
    MAP_LOOKUP,
    MAP_VALUE,
    MOVE,
    MOVE_CONSTANT,
    MOVE_LOW,
    READ_KERNEL,
    READ_USER,
    READ_USER_STRING,
    SEND_SIGNAL_THREAD,
    SHIFT_RIGHT,
    STORE_4,
    STORE_8,
    STORE_CONSTANT_1,
    STORE_CONSTANT_8,
    Instruction,
    Line,
)
from tracejail.model import Want

from .table import EVENTS, Decode, Row, Watch

# Results that a missing file, a refusal or a dead socket gives.
FAILURES = (
    errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH,
)
OURS, TOLD = 1, 2             # of a thread's byte: it is the target's; stop it at the next return, whatever that is
IN_A_VALUE = 8                # bytes of threads in a value of the map of threads
STAND_INS, SPECIAL = 1, 2     # of the first shared word: there are stand-ins; some of them are no files or directories
SHORT, LONG = 64, 256         # bytes of the keys of the two maps of paths: the call's number in 8, then the path and NULs
NUMBER = 8
REAL, NOWHERE = 1, 2          # of a path's value: it leads to no stand-in; its call failed, and will again
_LAST_ERROR = 511             # what is beyond is to be restarted, linux/errno.h
# struct pt_regs of x86-64: where the arguments of a system call and its number lie.
_ARGUMENT_AT = (112, 104, 96, 56, 72, 64)
_NUMBER_AT = 120
_NEVER_MISS = (*EVENTS, Decode.LISTING)
_FIRST_AT, _CALL_SIZE = 56, 72                  # the part of it that holds them all
KEY, _CALL = -8, -8 - _CALL_SIZE               # places on the stack
_PATH = _CALL - LONG
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Maps:
    """Descriptors of the maps: a byte for each thread id; inode number; path (shorter, longer); the shared words."""

    threads: int
    inodes: int
    short_paths: int
    long_paths: int
    words: int


def at_return(rows: Iterable[Row], maps: Maps, failures: tuple[int, ...] = FAILURES) -> list[Line]:
    """The program at sys_exit; `failures` are the errors that count, () for all. Its context: the registers' address,
    the result."""
    watched = [row for row in rows if row.x86_64 is not None]
    watched.sort(key=lambda row: row.inode is None)   # what is called most comes first
    return [
        Instruction(MOVE, 6, 1),
        Instruction(LOAD_8, 7, 6, 8),
        Instruction(LOAD_MAP, 1, MAP_VALUE, 0, maps.words),
        Instruction(LOAD_8, 8, 1, 0),
        Instruction(LOAD_8, 2, 1, 8),
        Instruction(JUMP_NOT_EQUAL, 2, 0, "some are told"),
        "nobody is told",
        Instruction(JUMP_SIGNED_LESS, 7, 0, "failed"),
        "of no account",
        Instruction(JUMP_EQUAL, 8, 0, "out"),
        *_own_thread(maps),
        *_call(),
        *_successes(watched, maps),
        "some are told",
        *_own_thread(maps),
        Instruction(JUMP_EQUAL, 1, 0, "nobody is told", OURS),
        Instruction(STORE_CONSTANT_1, 0, 0, 0, OURS),
        Instruction(JUMP, 0, 0, "stop"),
        "failed",
        *_counts(failures),
        "failed so",
        *_own_thread(maps),
        *_call(),
        *_failures(watched),
        "by path",
        *_known_path(maps.short_paths, SHORT, "longer"),
        "longer",
        *_known_path(maps.long_paths, LONG, "stop"),
        "stop",
        Instruction(MOVE_CONSTANT, 1, 0, 0, signal.SIGSTOP),
        Instruction(CALL, constant=SEND_SIGNAL_THREAD),
        "out",
        Instruction(MOVE_CONSTANT, 0),
        Instruction(EXIT),
    ]


def _counts(failures: tuple[int, ...]) -> list[Line]:
    if not failures:
        return [Instruction(JUMP_SIGNED_LESS, 7, 0, "out", -_LAST_ERROR)]
    lines: list[Line] = [Instruction(JUMP_EQUAL, 7, 0, "failed so", -code) for code in failures]
    return [*lines, Instruction(JUMP, 0, 0, "of no account")]


def at_end(threads: int) -> list[Line]:
    """The program at sched_process_exit, for a map of threads."""
    return [
        *byte_of_thread(threads),
        Instruction(STORE_CONSTANT_1, 0, 0, 0, 0),
        "out",
        Instruction(MOVE_CONSTANT, 0),
        Instruction(EXIT),
    ]


def _successes(rows: list[Row], maps: Maps) -> list[Line]:
    """What to do, while there are stand-ins, with a call that succeeded or failed on what is there (readlink(2) of a
    file: EINVAL); register 9 holds its number."""
    lines: list[Line] = []
    for row in rows:
        if row.inode is None and row.watch not in (Watch.PATH, Watch.FANOTIFY_OR_PATH):
            continue
        assert row.x86_64 is not None
        following = f"not {row.name}"
        lines.append(Instruction(JUMP_NOT_EQUAL, 9, 0, following, row.x86_64))
        if row.inode is not None:
            lines += [
                Instruction(JUMP_NOT_EQUAL, 7, 0, "out"),
                _register(_ARGUMENT_AT[row.inode.argument]),
                *_read(READ_USER, 9, row.inode.at, KEY, 8),
                *key(maps.inodes, KEY),
                Instruction(CALL, constant=MAP_LOOKUP),
                Instruction(JUMP_NOT_EQUAL, 0, 0, "stop"),
                Instruction(JUMP, 0, 0, "out"),
            ]
        else:
            if row.watch is Watch.FANOTIFY_OR_PATH:
                # fanotify tells of opened files and directories; another kind of stand-in, and an open that failed on
                # what is there (EEXIST), are seen by path.
                lines += [
                    Instruction(JUMP_SIGNED_LESS, 7, 0, f"path of {row.name}"),
                    Instruction(JUMP_SET, 8, 0, f"path of {row.name}", SPECIAL),
                    Instruction(JUMP, 0, 0, "out"),
                    f"path of {row.name}",
                ]
            lines += [
                _register(_ARGUMENT_AT[row.paths[0].argument]),
                Instruction(MOVE_CONSTANT, 8, 0, 0, row.x86_64),
                Instruction(JUMP, 0, 0, "by path"),
            ]
        lines.append(following)
    lines.append(Instruction(JUMP, 0, 0, "out"))
    return lines


def _failures(rows: list[Row]) -> list[Line]:
    """What to do with a call that failed so; register 9 holds its number. Only absence is known by path: a refusal
    depends on who asks."""
    lines: list[Line] = []
    for row in rows:
        if row.x86_64 is None or row.decode in _NEVER_MISS:
            continue
        if row.paths and row.paths[0].want is Want.OBJECT:
            following = f"succeeded {row.name}"
            lines += [
                Instruction(JUMP_NOT_EQUAL, 9, 0, following, row.x86_64),
                *(Instruction(JUMP_EQUAL, 7, 0, f"absent {row.name}", -code) for code in _ABSENT),
                Instruction(JUMP, 0, 0, "stop"),
                f"absent {row.name}",
                _register(_ARGUMENT_AT[row.paths[0].argument]),
                Instruction(MOVE_CONSTANT, 8, 0, 0, row.x86_64),
                Instruction(JUMP, 0, 0, "by path"),
                following,
            ]
        else:
            lines.append(Instruction(JUMP_EQUAL, 9, 0, "stop", row.x86_64))
    return [*lines, Instruction(JUMP, 0, 0, "out")]


def _known_path(paths: int, size: int, longer: str) -> list[Line]:
    """Out, if the path at the address in register 9 is known to be of no account to the call whose number is in
    register 8; `longer` if it does not fit; else a stop."""
    return [
        *(Instruction(STORE_CONSTANT_8, 10, 0, _PATH + at, 0) for at in range(NUMBER, size, 8)),
        Instruction(STORE_8, 10, 8, _PATH),
        Instruction(MOVE, 1, 10),
        Instruction(ADD_CONSTANT, 1, constant=_PATH + NUMBER),
        Instruction(MOVE_CONSTANT, 2, constant=size - NUMBER),
        Instruction(MOVE, 3, 9),
        Instruction(CALL, constant=READ_USER_STRING),
        Instruction(JUMP_SIGNED_LESS, 0, 0, "stop", 2),   # unreadable or empty
        Instruction(LOAD_1, 1, 10, _PATH + NUMBER),
        Instruction(JUMP_NOT_EQUAL, 1, 0, "stop", ord("/")),
        Instruction(JUMP_EQUAL, 0, 0, longer, size - NUMBER),   # cut, or just fitting
        *key(paths, _PATH),
        Instruction(CALL, constant=MAP_LOOKUP),
        Instruction(JUMP_EQUAL, 0, 0, "stop"),
        Instruction(LOAD_8, 1, 0, 0),
        Instruction(MOVE_CONSTANT, 2, 0, 0, REAL),
        Instruction(JUMP_SIGNED_LESS, 7, 0, f"absence {size}"),
        Instruction(JUMP, 0, 0, f"presence {size}"),
        f"absence {size}",
        Instruction(MOVE_CONSTANT, 2, 0, 0, NOWHERE),
        f"presence {size}",
        Instruction(JUMP_SET_REGISTER, 1, 2, "out"),
        Instruction(JUMP, 0, 0, "stop"),
    ]


def _own_thread(maps: Maps) -> list[Line]:
    """The thread's byte in register 1, its address in register 0; out, if it is none of the target's. Uses register 9."""
    return [
        *byte_of_thread(maps.threads),
        Instruction(LOAD_1, 1, 0, 0),
        Instruction(JUMP_EQUAL, 1, 0, "out"),
    ]


def byte_of_thread(threads: int) -> list[Line]:
    """The address of the thread's byte in register 0. The look-up in an array is inlined by the kernel."""
    return [
        Instruction(CALL, constant=CURRENT_PID_TGID),
        Instruction(MOVE_LOW, 9, 0),                      # the low half: the thread's id
        Instruction(MOVE, 1, 9),
        Instruction(SHIFT_RIGHT, 1, constant=3),
        Instruction(STORE_4, 10, 1, KEY),
        *key(threads, KEY),
        Instruction(CALL, constant=MAP_LOOKUP),
        Instruction(JUMP_EQUAL, 0, 0, "out"),
        Instruction(AND_CONSTANT, 9, constant=IN_A_VALUE - 1),
        Instruction(ADD, 0, 9),
    ]


def key(of_map: int, at: int) -> list[Line]:
    return [
        Instruction(LOAD_MAP, 1, MAP, 0, of_map),
        Instruction(MOVE, 2, 10),
        Instruction(ADD_CONSTANT, 2, constant=at),
    ]


def _call() -> list[Line]:
    """The call's registers onto the stack, and its number in register 9."""
    return [Instruction(LOAD_8, 9, 6, 0), *_read(READ_KERNEL, 9, _FIRST_AT, _CALL, _CALL_SIZE), _register(_NUMBER_AT)]


def _register(at: int) -> Instruction:
    """A word of the call's registers, in register 9."""
    return Instruction(LOAD_8, 9, 10, _CALL + at - _FIRST_AT)


def _read(helper: int, base: int, at: int, onto: int, size: int) -> list[Line]:
    """The bytes at `at` from the address in register `base`, onto the stack; out, where that fails."""
    return [
        Instruction(MOVE, 1, 10),
        Instruction(ADD_CONSTANT, 1, constant=onto),
        Instruction(MOVE_CONSTANT, 2, constant=size),
        Instruction(MOVE, 3, base),
        Instruction(ADD_CONSTANT, 3, constant=at),
        Instruction(CALL, constant=helper),
        Instruction(JUMP_NOT_EQUAL, 0, 0, "out"),
    ]
