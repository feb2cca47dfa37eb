"""The filter, tried by the simulator: no kernel is asked."""

from __future__ import annotations

import errno

from tracejail.kernel.ptrace import I386, X86_64
from tracejail.kernel.seccomp import Refuse, Trace, assemble, pack, simulate
from tracejail.trace.seccomp_engine import _tables
from tracejail.trace.table import ROWS

ALLOW, TRACE, ENOSYS = 0x7FFF0000, 0x7FF00000, 0x00050000 | errno.ENOSYS
RULES = {architecture: {number: row.trace for number, row in rows.items()} for architecture, rows in _tables().items()}
FILTER = assemble(RULES)


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
