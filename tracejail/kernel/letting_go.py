"""What a process can let go of before it executes another program: descriptors, its terminal, its keyring, what it could gain."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal

from .syscalls import libc, syscall

_CLOSE_RANGE, _KEYCTL = 436, 250
_JOIN_SESSION_KEYRING = 1          # linux/keyctl.h; a new one with no name, keyctl(2)
_LAST = 0xFFFFFFFF
_TIOCNOTTY = 0x5422
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def close_from(first: int) -> None:
    """Close all descriptors from this number on. Raises OSError."""
    try:
        syscall(_CLOSE_RANGE, first, _LAST, 0)
    except OSError as error:
        if error.errno != errno.ENOSYS:   # before Linux 5.9
            raise
        for name in os.listdir("/proc/self/fd"):
            if int(name) >= first:
                with contextlib.suppress(OSError):
                    os.close(int(name))


def leave_terminal() -> bool:
    """A session of its own, and no controlling terminal; False where this process leads a group and could only give up the
    terminal itself."""
    try:
        os.setsid()
        return True
    except PermissionError:
        with contextlib.suppress(OSError):
            terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(terminal, _TIOCNOTTY)
            finally:
                os.close(terminal)
        return False


def leave_keyring() -> None:
    """An empty session keyring of its own. Raises OSError: ENOSYS where the kernel has no keyrings."""
    syscall(_KEYCTL, _JOIN_SESSION_KEYRING, None)


def die_with_parent() -> None:
    """To be called after a change of user, which takes it back (PR_SET_PDEATHSIG)."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def gain_nothing() -> None:
    """No program that is executed from now on gains anything by it: setuid bits and file capabilities are ignored
    (PR_SET_NO_NEW_PRIVS). Raises OSError."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0:
        raise OSError(errno.EINVAL, "no_new_privs")
