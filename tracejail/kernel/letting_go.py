"""What a process can let go of before it executes another program: descriptors, its terminal, its keyring, what it could gain."""

from __future__ import annotations

import contextlib
import errno
import os
import signal

from .syscalls import libc, syscall

_CLOSE_RANGE, _KEYCTL, _PERSONALITY = 436, 250, 135
_JOIN_SESSION_KEYRING = 1          # linux/keyctl.h; a new one with no name, keyctl(2)
_LAST = 0xFFFFFFFF
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


def can_leave_terminal() -> bool:
    """Whether this process can have a session of its own without a terminal, or has one: one that leads a group in the session of
    another, as a job of a shell does, can't (setsid(2))."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as stream:
        terminal = int(stream.read().rpartition(")")[2].split()[4])   # tty_nr, proc_pid_stat(5)
    leads = os.getpgrp() == os.getpid()
    return not leads or (os.getsid(0) == os.getpid() and not terminal)


def leave_terminal() -> None:
    """A session of its own, which has no controlling terminal; for one that can."""
    with contextlib.suppress(PermissionError):   # it leads one
        os.setsid()


def forget_inherited() -> None:
    """What an execve(2) would keep of the caller's: timers, and how memory is laid out (personality(2))."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    syscall(_PERSONALITY, 0)


def leave_keyring() -> None:
    """An empty session keyring of its own. Raises OSError: ENOSYS where the kernel has no keyrings."""
    syscall(_KEYCTL, _JOIN_SESSION_KEYRING, None)


def die_with_parent() -> None:
    """Killed when the parent ends; to be called again after a change of user, which takes it back (PR_SET_PDEATHSIG)."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def gain_nothing() -> None:
    """No program that is executed from now on gains anything by it: setuid bits and file capabilities are ignored
    (PR_SET_NO_NEW_PRIVS). Raises OSError."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0:
        raise OSError(errno.EINVAL, "no_new_privs")
