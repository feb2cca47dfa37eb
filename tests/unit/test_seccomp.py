"""The filter, tried by the simulator: no kernel is asked."""

from __future__ import annotations

import errno
import os

from tracejail.kernel.ptrace import I386, X86_64
from tracejail.kernel.seccomp import Refuse, Trace, assemble, pack, simulate
from tracejail.trace.miss_engine import miss_rules
from tracejail.trace.seccomp_engine import seccomp_rules
from tracejail.trace.table import ROWS

ALLOW, TRACE, ENOSYS = 0x7FFF0000, 0x7FF00000, 0x00050000 | errno.ENOSYS
RULES = seccomp_rules()
FILTER = assemble(RULES)
MISSES = assemble(miss_rules())


def test_each_row_is_answered_as_it_says() -> None:
    for architecture, rows in RULES.items():
        for number in range(600):
            action = rows.get(number)
            if action is None:
                wanted = ALLOW
            elif isinstance(action, Refuse):
                wanted = ENOSYS
            else:
                wanted = ALLOW if action.mask else TRACE
            assert simulate(FILTER, architecture, number) == wanted, (architecture, number)


def test_an_argument_decides() -> None:
    for bit in (0, 31, 32, 63):
        program = assemble({X86_64: {44: Trace(4, 0xFFFFFFFFFFFFFFFF)}})
        assert simulate(program, X86_64, 44, (0, 0, 0, 0, 1 << bit)) == TRACE
    assert simulate(FILTER, X86_64, 56, (0x00800000,)) == TRACE
    assert simulate(FILTER, X86_64, 56, (0x00000011,)) == ALLOW


def test_the_miss_only_engine_lets_opens_pass_that_make_nothing_of_the_hosts() -> None:
    for flags, stops in (
        (os.O_RDONLY, False), (os.O_RDWR, False), (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, False),
        (os.O_RDWR | os.O_CREAT | os.O_EXCL, False), (os.O_WRONLY | os.O_CREAT | os.O_APPEND, False),
        (os.O_RDWR | os.O_CREAT, True), (os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, True),
        (os.O_RDWR | os.O_CREAT | os.O_APPEND, True), (os.O_PATH | os.O_NOFOLLOW, True),
    ):
        assert simulate(MISSES, X86_64, 257, (0, 0, flags)) == (TRACE if stops else ALLOW), oct(flags)
        assert simulate(MISSES, X86_64, 2, (0, flags)) == (TRACE if stops else ALLOW), oct(flags)


def test_the_miss_only_engine_refuses_and_names_the_same_calls() -> None:
    for number, action in RULES[X86_64].items():
        if isinstance(action, Refuse):
            assert simulate(MISSES, X86_64, number) == ENOSYS
    for number in (161, 105, 50, 59, 87, 82):   # chroot setuid listen execve unlink rename
        assert simulate(MISSES, X86_64, number) == TRACE
    for number in (39, 0, 4, 257, 217, 21, 42):  # getpid read stat openat getdents64 access connect
        assert simulate(MISSES, X86_64, number) == ALLOW
    assert miss_rules()[I386] == RULES[I386]


def test_x32_numbers_are_refused() -> None:
    assert simulate(FILTER, X86_64, 0x40000000 | 257) == ENOSYS


def test_an_architecture_that_is_not_named_passes() -> None:
    assert simulate(FILTER, 0xC00000B7, 56) == ALLOW


def test_no_jump_is_too_far() -> None:
    assert len(pack(FILTER)) == 8 * len(FILTER)
    assert len(FILTER) < 4096  # BPF_MAXINSNS
    many = assemble({I386: {number: Trace() for number in range(0, 800, 2)}})
    assert simulate(many, I386, 798) == TRACE and simulate(many, I386, 799) == ALLOW


def test_no_number_stands_in_two_rows() -> None:
    for column in ("x86_64", "i386"):
        numbers = [getattr(row, column) for row in ROWS if getattr(row, column) is not None]
        assert len(numbers) == len(set(numbers)), column
