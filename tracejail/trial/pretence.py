"""Where only one user is there: what root does to become another, or to give files away, is told to have been done.

A daemon that gives up root can't be learned without root in another way. It goes on as the user that it is: what it may
read and write then, it may as its own owner. The report says so.
"""

from __future__ import annotations

import errno

from tracejail.kernel.identities import Powers
from tracejail.model import SyscallRecord

SETS_USER = ("setuid", "setreuid", "setresuid", "setfsuid")
SETS_GROUP = ("setgid", "setregid", "setresgid", "setfsgid")
CHOWNS = {"chown": 1, "lchown": 1, "fchown": 1, "fchownat": 2}   # which word is the user; the group follows
_NOBODY_NEW = 0xFFFFFFFF   # -1: leave as it is


def ids_of(record: SyscallRecord) -> tuple[list[int], list[int]]:
    """The users and the groups that a call names, to become them or to give something to them."""
    name = record.syscall
    count = 3 if "res" in name else 2 if "re" in name else 1
    users: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    if name in SETS_USER:
        users = record.words[:count]
    elif name in SETS_GROUP:
        groups = record.words[:count]
    elif name in CHOWNS:
        at = CHOWNS[name]
        users, groups = record.words[at : at + 1], record.words[at + 1 : at + 2]
    return _named(users), _named(groups)


def _named(words: tuple[int, ...]) -> list[int]:
    return [word & _NOBODY_NEW for word in words if word & _NOBODY_NEW != _NOBODY_NEW]


def is_needed(record: SyscallRecord, able: Powers) -> bool:
    """Whether root could do what this call asks for, and root of this namespace can't. For calls without a path, at their
    entry, and for those with one, at their exit."""
    if able.whole or able.user(0) < 0:
        return False  # a target that is not root there would not have got it from the kernel either
    if record.syscall == "setgroups":
        return not able.set_groups
    if record.arguments and record.result != -errno.EINVAL:
        return False
    users, groups = ids_of(record)
    return any(able.user(number) < 0 for number in users) or any(able.group(number) < 0 for number in groups)


def note(record: SyscallRecord) -> str:
    """For the report."""
    what = "gave files away" if record.syscall in CHOWNS else "gave up root"
    return f"{record.program} {what} only as it was told: without newuidmap and a line in /etc/subuid only one user is there"
