"""Which calls are only told to have been made where a single user is there."""

from __future__ import annotations

import errno

import pytest

from tracejail.kernel.identities import KEEP, WHOLE, Powers
from tracejail.model import PathArgument, SyscallRecord, Want
from tracejail.trial.pretence import is_needed

ONE = Powers(False, (range(1),), (range(1),), set_groups=False)
OTHER = Powers(False, (range(33, 34),), (range(33, 34),), set_groups=False)
MANY = Powers(False, (range(65537),), (range(65537),))
LEAVE = 0xFFFFFFFF
FILE = (PathArgument("/f", "/", "/", Want.OBJECT),)


def record(syscall: str, *words: int, arguments: tuple[PathArgument, ...] = (), result: int = 0) -> SyscallRecord:
    return SyscallRecord(1, 1, "/bin/x", syscall, "x86-64", arguments, result=result, words=words)


@pytest.mark.parametrize(
    ("able", "call", "needed"),
    [
        (ONE, record("setuid", 33), True),
        (ONE, record("setuid", 0), False),
        (ONE, record("setresuid", LEAVE, 33, LEAVE), True),
        (ONE, record("setresuid", 0, LEAVE, 0), False),
        (ONE, record("setresgid", 33, 33, 33), True),
        (ONE, record("setgroups", 33), True),
        (ONE, record("fchown", 3, 33, LEAVE), True),
        (ONE, record("fchown", 3, 0, 0), False),
        (ONE, record("chown", 0x1000, 33, 33, arguments=FILE, result=-errno.EINVAL), True),
        (ONE, record("fchownat", 3, 0x1000, 33, 33, arguments=FILE, result=-errno.EINVAL), True),
        (ONE, record("chown", 0x1000, 33, 33, arguments=FILE, result=-errno.ENOENT), False),
        (ONE, record("listen", 3, 128), False),
        (OTHER, record("setuid", 0), False),   # www-data could not become root on the host
        (OTHER, record("setgroups", 0), False),
        (MANY, record("setuid", 33), False),
        (MANY, record("setgroups", 33), False),
        (MANY, record("setuid", 100000), True),
        (WHOLE, record("setuid", 100000), False),
    ],
)
def test_what_is_only_told(able: Powers, call: SyscallRecord, needed: bool) -> None:
    assert is_needed(call, able) is needed


def test_ids_that_can_be_given() -> None:
    assert (ONE.user(0), ONE.user(33), MANY.group(33), WHOLE.user(70000)) == (0, KEEP, 33, 70000)
    assert (ONE.everybody, WHOLE.everybody, Powers(False, (range(0xFFFFFFFF),)).everybody) == (False, True, True)
