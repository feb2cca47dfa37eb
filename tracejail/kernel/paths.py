"""openat2(2): look-ups that cannot leave the tree beneath a directory descriptor."""

from __future__ import annotations

import errno
import os
import struct

from .syscalls import syscall

_OPENAT2 = 437
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 0x01, 0x02, 0x04, 0x08, 0x10
O_PATH_NOFOLLOW = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_RETRIES = 64  # openat2(2): EAGAIN under renames anywhere on the system; the caller is to try again


def openat2(directory: int, path: str, flags: int, mode: int = 0, resolve: int = IN_ROOT | NO_MAGICLINKS) -> int:
    """Open `path` beneath `directory`; with IN_ROOT an absolute path or link is taken as from that directory.

    Raises OSError: ELOOP (a symlink under NO_SYMLINKS), EXDEV (a way out, or another mount under NO_XDEV),
    EAGAIN (raced by renames for 64 tries), or what open(2) gives.
    """
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_RETRIES):
        try:
            return syscall(_OPENAT2, directory, os.fsencode(path), how, len(how))
        except OSError as error:
            if error.errno != errno.EAGAIN:
                error.filename = path
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
