"""Landlock (landlock(7)): a process that keeps itself, and all that it starts, to the files that it names. Linux 5.13."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable

from .paths import IN_ROOT, NO_MAGICLINKS, openat2
from .syscalls import syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _BENEATH = 1, 1
# In the order of the bits of linux/landlock.h; ioctl-dev is left out: a device that may be opened may be asked.
ACCESS = (
    "execute", "write-file", "read-file", "read-dir", "remove-dir", "remove-file", "make-char", "make-dir", "make-reg",
    "make-sock", "make-fifo", "make-block", "make-sym", "refer", "truncate",
)
_KNOWN = {1: 13, 2: 14}              # how many of them a version knows; later ones all
SCOPES = 6                           # the version that knows what follows
_SCOPE_SOCKETS, _SCOPE_SIGNALS = 1, 2
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14   # what a rule about a file may say


def version() -> int:
    """Of the kernel's Landlock; 0 where there is none, or it is switched off."""
    try:
        return syscall(_CREATE, None, 0, _VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


def ruleset(root: int, rules: Iterable[tuple[frozenset[str], str]], known: int) -> tuple[int, int]:
    """A descriptor of the rules (what is allowed, of the names of ACCESS; the path, its links not followed out of `root`), and
    how many of them are about paths that are not there. `known` is the version. Raises OSError."""
    handled = (1 << _KNOWN.get(known, len(ACCESS))) - 1
    made = syscall(_CREATE, struct.pack("=Q", handled), 8, 0)
    lost = 0
    for names, path in rules:
        try:
            found = openat2(root, path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, 0, IN_ROOT | NO_MAGICLINKS)
        except OSError:
            lost += 1
            continue
        try:
            word = sum(1 << ACCESS.index(name) for name in names) & handled
            if not stat.S_ISDIR(os.fstat(found).st_mode):
                word &= _OF_FILES
            if word:
                syscall(_ADD, made, _BENEATH, struct.pack("=Qi", word, found), 0)
        finally:
            os.close(found)
    return made, lost


def scoped() -> int:
    """A descriptor of rules by which neither an abstract socket nor a signal (or the descriptor that sends one) reaches a process
    that is not kept by them too; files are left alone. Raises OSError: EINVAL, E2BIG before version 6 (Linux 6.12)."""
    return syscall(_CREATE, struct.pack("=3Q", 0, 0, _SCOPE_SOCKETS | _SCOPE_SIGNALS), 24, 0)


def restrict(made: int) -> None:
    """From here on nothing else is allowed. No new privileges can be gained already. Raises OSError."""
    syscall(_RESTRICT, made, 0)
