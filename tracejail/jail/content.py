"""The bytes of a file: copied with their holes, by the kernel where nobody needs to see them, and hashed once.

The digest of a source is remembered for this process by what stat(2) tells of it, so that a file that a trial has
brought is not read again for its digest when it is copied into a jail.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator

from tracejail.errors import InputOutputError

_CHUNK = 1 << 20
_FICLONE = 0x40049409       # linux/fs.h
_NOT_HERE = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EBADF, errno.EPERM)
_SETTLED = 2_000_000_000    # ns: a file that changed less than this ago may change again with the same times
_Identity = tuple[int, int, int, int, int]
_digests: dict[_Identity, str] = {}


def copy_content(source: int | bytes, target: int, name: str, digest: bool = True) -> tuple[str, int]:
    """All bytes of `source` into the empty file `target`, holes kept; gives (sha256, size), without `digest` ("", size).

    Raises InputOutputError for a source that changes while it is copied, three times; OSError.
    """
    if isinstance(source, bytes):
        view = memoryview(source)
        while view:
            view = view[os.write(target, view):]
        return hashlib.sha256(source).hexdigest(), len(source)
    for _ in range(3):
        before = os.fstat(source)
        known = _digests.get(_identity(before), "")
        if known or not digest:
            _copy(source, target, before.st_size)
        else:
            known = _copy_and_hash(source, target, before.st_size)
        after = os.fstat(source)
        if _identity(before) == _identity(after):
            return _remember(before, known) if digest else "", before.st_size
    raise InputOutputError(f"{name}: the file changes while it is copied", "stop what writes it, and try again")


def digest_of(source: int) -> tuple[str, int]:
    """(sha256, size) of an open file, read from its start."""
    before = os.fstat(source)
    known = _digests.get(_identity(before))
    if known is not None:
        return known, before.st_size
    digest, size = hashlib.sha256(), 0
    while chunk := os.pread(source, _CHUNK, size):
        digest.update(chunk)
        size += len(chunk)
    if _identity(before) == _identity(os.fstat(source)) and size == before.st_size:
        _remember(before, digest.hexdigest())
    return digest.hexdigest(), size


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _remember(status: os.stat_result, digest: str) -> str:
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED:
        _digests[_identity(status)] = digest
    return digest


def _ranges(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has data: (start, end)."""
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # a hole up to the end
        position = min(os.lseek(source, start, os.SEEK_HOLE), size)
        yield start, position


def _copy(source: int, target: int, size: int) -> None:
    os.ftruncate(target, 0)
    if _cloned(source, target):
        return
    os.ftruncate(target, size)
    for start, end in _ranges(source, size):
        while start < end:
            moved = _moved(source, target, start, end - start)
            if not moved:
                return  # cut short under our hands: the caller sees the new size and tries again
            start += moved


def _cloned(source: int, target: int) -> bool:
    """Whether the file system could share the blocks (ioctl_ficlonerange(2))."""
    if os.fstat(source).st_dev != os.fstat(target).st_dev:
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return False
        raise
    return True


def _moved(source: int, target: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, at, at)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    os.lseek(target, at, os.SEEK_SET)
    try:
        return os.sendfile(target, source, at, count)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    return os.pwrite(target, os.pread(source, min(count, _CHUNK), at), at)


def _copy_and_hash(source: int, target: int, size: int) -> str:
    digest = hashlib.sha256()
    os.ftruncate(target, 0)
    os.ftruncate(target, size)
    position = 0
    for start, end in _ranges(source, size):
        _hash_zeros(digest, start - position)
        position = start
        while position < end:
            chunk = os.pread(source, min(_CHUNK, end - position), position)
            if not chunk:
                return ""  # cut short under our hands: the caller sees the new size and tries again
            digest.update(chunk)
            written = 0
            while written < len(chunk):
                written += os.pwrite(target, chunk[written:], position + written)
            position += len(chunk)
    _hash_zeros(digest, size - position)
    return digest.hexdigest()


def _hash_zeros(digest: hashlib._Hash, count: int) -> None:
    zeros = bytes(min(_CHUNK, max(count, 0)))
    while count > 0:
        digest.update(zeros[:min(count, _CHUNK)])
        count -= _CHUNK
