"""The raw syscall(2) entry and its errno, for calls that neither Python nor the C library wraps."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


def syscall(number: int, *arguments: Argument) -> int:
    """Make a system call by its number on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).

    Raises OSError with the errno of the call.
    """
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
