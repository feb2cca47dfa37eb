"""What a jail holds beside what it was built of: it stays when the jail is built anew with more in it.

By hard links, before the new tree takes the old one's place: so nothing is lost whatever ends this in between.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .content import digest_of

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OtherContentError(Exception):
    """The old tree has a file of its own where the new one has another; `path` says where."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(slots=True)
class _Keeping:
    built: Mapping[str, str]          # path of each entry that the old tree was built of -> SHA-256 of a file, else ""
    is_written: Callable[[str], bool]
    kept: list[str] = field(default_factory=list)


def keep(old: int, new: int, built: Mapping[str, str], is_written: Callable[[str], bool]) -> list[str]:
    """Give the tree `new` what only the tree `old` has, and of the places that the program writes to what `old` has there;
    both are descriptors of directories. `built` is what the old tree was built of. Gives the paths that were kept.

    Raises OtherContentError for a file that was changed, or put there, and that the new tree has otherwise; OSError.
    """
    work = _Keeping(built, is_written)
    _directory(work, old, new, "")
    return work.kept


def _directory(work: _Keeping, old: int, new: int, above: str) -> None:
    for name in sorted(os.listdir(old)):
        path = f"{above}/{name}"
        there = os.stat(name, dir_fd=old, follow_symlinks=False)
        try:
            made = os.stat(name, dir_fd=new, follow_symlinks=False)
        except FileNotFoundError:
            _give(work, old, new, name, path, there)
            continue
        if stat.S_ISDIR(there.st_mode) and stat.S_ISDIR(made.st_mode):
            _inside(work, old, new, name, path)
        elif not _same(old, new, name, there, made):
            _choose(work, old, new, name, path, there)


def _give(work: _Keeping, old: int, new: int, name: str, path: str, there: os.stat_result) -> None:
    if path in work.built:
        return  # an entry that the manifest has no more
    if not stat.S_ISDIR(there.st_mode):
        os.link(name, name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
        work.kept.append(path)
        return
    os.mkdir(name, 0o700, dir_fd=new)
    with _opened(name, new) as made:
        os.chown(made, there.st_uid, there.st_gid)
        os.chmod(made, stat.S_IMODE(there.st_mode))
    work.kept.append(path)
    _inside(work, old, new, name, path)


def _inside(work: _Keeping, old: int, new: int, name: str, path: str) -> None:
    with _opened(name, old) as first, _opened(name, new) as second:
        before = os.fstat(second)
        _directory(work, first, second, path)
        os.utime(second, ns=(before.st_atime_ns, before.st_mtime_ns))


def _choose(work: _Keeping, old: int, new: int, name: str, path: str, there: os.stat_result) -> None:
    """One of two that are not the same."""
    if work.is_written(path):
        os.unlink(name, dir_fd=new)
        os.link(name, name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
        work.kept.append(path)
        return
    digest = work.built.get(path)
    if digest is None or (digest and stat.S_ISREG(there.st_mode) and _digest(name, old) != digest):
        raise OtherContentError(path)


def _same(old: int, new: int, name: str, there: os.stat_result, made: os.stat_result) -> bool:
    if stat.S_IFMT(there.st_mode) != stat.S_IFMT(made.st_mode):
        return False
    if stat.S_ISLNK(there.st_mode):
        return os.readlink(name, dir_fd=old) == os.readlink(name, dir_fd=new)
    if not stat.S_ISREG(there.st_mode):
        return there.st_rdev == made.st_rdev
    if there.st_size != made.st_size:
        return False
    return there.st_mtime_ns == made.st_mtime_ns or _digest(name, old) == _digest(name, new)


def _digest(name: str, directory: int) -> str:
    with _opened(name, directory, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC) as source:
        return digest_of(source)[0]


@contextlib.contextmanager
def _opened(name: str, directory: int, flags: int = _DIRECTORY) -> Iterator[int]:
    descriptor = os.open(name, flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
