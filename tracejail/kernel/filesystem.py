"""What Python's own calls leave out: the type of a file system (fstatfs(2)), and inode flags that keep a file from being
changed (statx(2), chattr(1))."""

from __future__ import annotations

import ctypes
import struct

from .syscalls import syscall

_FSTATFS, _STATX = 138, 332
_AT_EMPTY_PATH, _STATX_TYPE = 0x1000, 1
_FLAGS = {0x10: "immutable", 0x20: "append-only"}


def type_of(fd: int) -> int:
    """f_type, as in statfs(2) and linux/magic.h. Raises OSError."""
    buffer = ctypes.create_string_buffer(120)
    syscall(_FSTATFS, fd, buffer)
    return int(struct.unpack_from("=q", buffer)[0]) & 0xFFFFFFFF


def inode_flags(fd: int) -> frozenset[str]:
    """Of stx_attributes those that refuse a change to anybody: immutable, append-only. Raises OSError."""
    buffer = ctypes.create_string_buffer(256)
    syscall(_STATX, fd, b"", _AT_EMPTY_PATH, _STATX_TYPE, buffer)
    bits = struct.unpack_from("=Q", buffer, 8)[0]
    return frozenset(name for bit, name in _FLAGS.items() if bits & bit)
