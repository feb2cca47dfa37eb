"""Where a target's output goes: files without a name, so that no pipe can fill and nothing is left behind."""

from __future__ import annotations

import fcntl
import os

MOST = 64 << 20  # bytes


def output_file(name: str) -> int:
    """A descriptor of a new file in memory; the caller closes it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.fchmod(fd, 0o666)  # a target that has dropped its user id may open it again
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


def contents(fd: int) -> bytes:
    """All that is in it."""
    return os.pread(fd, MOST, 0)


def is_full(*files: int) -> bool:
    """Whether there is more in them than is kept."""
    return sum(os.fstat(fd).st_size for fd in files) > MOST
