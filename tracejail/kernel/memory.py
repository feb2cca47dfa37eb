"""Reading a tracee's memory with process_vm_readv(2).

/proc/PID/mem is not used: a descriptor of it that is kept open across execve reads the old address space.
"""

from __future__ import annotations

import ctypes
import struct

from .syscalls import libc

_PAGE, _LONGEST = 4096, 4096  # PATH_MAX
_buffer = ctypes.create_string_buffer(_LONGEST)
_buffer_address = ctypes.addressof(_buffer)
_local = ctypes.create_string_buffer(16)
_remote = ctypes.create_string_buffer(16)
_pack = struct.Struct("QQ").pack_into
_readv = libc.process_vm_readv
_readv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)
_readv.restype = ctypes.c_ssize_t
_local_address, _remote_address = ctypes.addressof(_local), ctypes.addressof(_remote)


def read_memory(thread: int, address: int, size: int) -> bytes:
    """At most `size` (<= 4096) bytes from `address`; fewer, or none, where the memory is not there."""
    size = min(size, _LONGEST)
    _pack(_local, 0, _buffer_address, size)
    _pack(_remote, 0, address, size)
    got = _readv(thread, _local_address, 1, _remote_address, 1, 0)
    if got < 0 and size > 1 and address % _PAGE + size > _PAGE:
        return read_memory(thread, address, _PAGE - address % _PAGE)
    return _buffer.raw[:got] if got > 0 else b""


def read_string(thread: int, address: int) -> bytes | None:
    """The NUL-terminated string at `address`; None if it is not readable or longer than PATH_MAX."""
    if not address:
        return None
    text = b""
    step = 256
    while len(text) < _LONGEST:
        position = address + len(text)
        piece = read_memory(thread, position, min(step, _PAGE - position % _PAGE))
        if not piece:
            return None
        end = piece.find(b"\0")
        if end >= 0:
            return text + piece[:end]
        text += piece
        step = _PAGE
    return None
