"""openat2(2): look-ups that cannot leave the tree beneath a directory descriptor."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_OPENAT2 = 437
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 0x01, 0x02, 0x04, 0x08, 0x10
O_PATH_NOFOLLOW = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# Of all calls the one that is made most: by a function of its own, whose arguments need no look each time.
_how = struct.Struct("QQQ").pack
_HOW_SIZE = 24
_openat2 = ctypes.CDLL(None, use_errno=True).syscall
_openat2.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_openat2.restype = ctypes.c_long
_RETRIES = 64  # openat2(2): EAGAIN under renames anywhere on the system; the caller is to try again


def openat2(directory: int, path: str, flags: int, mode: int = 0, resolve: int = IN_ROOT | NO_MAGICLINKS) -> int:
    """Open `path` beneath `directory`; with IN_ROOT an absolute path or link is taken as from that directory.

    Raises OSError: ELOOP (a symlink under NO_SYMLINKS), EXDEV (a way out, or another mount under NO_XDEV),
    EAGAIN (raced by renames for 64 tries), or what open(2) gives.
    """
    how = _how(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    for _ in range(_RETRIES):
        descriptor: int = _openat2(_OPENAT2, directory, name, how, _HOW_SIZE)
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code != errno.EAGAIN:
            raise OSError(code, os.strerror(code), path)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def is_mounted(directory: int, path: str) -> bool:
    """Whether a mount is crossed on the way from the descriptor `directory` to `path`, itself a mount point or not. Another
    st_dev alone does not say so: each layer of an overlayfs, and each subvolume of a btrfs, has its own."""
    try:
        os.close(openat2(directory, path.lstrip("/") or ".", O_PATH_NOFOLLOW, 0, NO_XDEV | NO_MAGICLINKS))
    except OSError as error:
        return error.errno == errno.EXDEV
    return False
