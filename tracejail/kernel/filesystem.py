"""fstatfs(2): on what type of file system an object lies; Python's own call leaves the type out."""

from __future__ import annotations

import ctypes
import struct

from .syscalls import syscall

_FSTATFS = 138


def type_of(fd: int) -> int:
    """f_type, as in statfs(2) and linux/magic.h. Raises OSError."""
    buffer = ctypes.create_string_buffer(120)
    syscall(_FSTATFS, fd, buffer)
    return int(struct.unpack_from("=q", buffer)[0]) & 0xFFFFFFFF
