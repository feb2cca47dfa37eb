"""The private directory beside a jail in which an update is made ready, and in which the former files are kept.

`.NAME.upkeep`, mode 0700, on the jail's own file system, so that a file moves in and out by a rename. In it: `next` (being
made ready; litter of a kill, cleared by the next update), `pending` (committed: it is finished or undone by whoever comes
next), `former` (what the last update took out, for a rollback). A jail that is itself a mount point has it in its root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from tracejail.errors import InputOutputError
from tracejail.kernel.paths import is_mounted
from tracejail.kernel.syscalls import syscall

from .remove import remove_tree

NEXT, PENDING, FORMER = "next", "pending", "former"
_SYNCFS = 306
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The directory, open, with the jail's root: descriptors."""

    jail: str
    root: int
    parent: int
    name: str
    fd: int


def name_in_root(root: int) -> list[str]:
    """The path that the directory has in a jail which is a mount point, by a descriptor of its root; none elsewhere."""
    place = os.readlink(f"/proc/self/fd/{root}")
    return [f"/{_name(place)}"] if _is_mount_point(place) else []


def is_pending(jail: str) -> bool:
    """Whether an update of this jail was killed after it was committed."""
    jail = os.path.realpath(jail)
    return os.path.isdir(f"{_place(jail)}/{_name(jail)}/{PENDING}")


def _name(jail: str) -> str:
    return f".{os.path.basename(jail)}.upkeep"


def _place(jail: str) -> str:
    return jail if _is_mount_point(jail) else os.path.dirname(jail) or "/"


def _is_mount_point(path: str) -> bool:
    # Not by st_dev: a bind mount of the same file system is one too, and takes no rename across it.
    try:
        above = os.open(os.path.dirname(path) or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return is_mounted(above, os.path.basename(path))
    finally:
        os.close(above)


@contextlib.contextmanager
def upkeep(jail: str) -> Iterator[Upkeep]:
    """The directory of a jail, made if it is not there; it goes again where nothing is left in it.

    Raises InputOutputError.
    """
    name = _name(jail)
    descriptors: list[int] = []
    try:
        try:
            for place in (jail, _place(jail)):
                descriptors.append(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=descriptors[1])
            descriptors.append(os.open(name, _DIRECTORY, dir_fd=descriptors[1]))
            status = os.fstat(descriptors[2])
        except OSError as error:
            cause = f"{jail}: {os.strerror(error.errno or 0)}: no place to make an update ready in"
            raise InputOutputError(cause, "see whether there is room beside it, and the jail is there") from None
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            hint = "look at it, and remove it"
            raise InputOutputError(f"{_place(jail)}/{name}: not a private directory of this user", hint)
        yield Upkeep(jail, descriptors[0], descriptors[1], name, descriptors[2])
    finally:
        if len(descriptors) == 3:
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=descriptors[1])   # where nothing is kept in it
        for fd in descriptors:
            os.close(fd)


@contextlib.contextmanager
def folder(at: Upkeep, name: str) -> Iterator[int]:
    """A descriptor of one of the directories in it. Raises OSError."""
    fd = os.open(name, _DIRECTORY, dir_fd=at.fd)
    try:
        yield fd
    finally:
        os.close(fd)


def has(at: Upkeep, name: str) -> bool:
    """Whether one of the directories is there."""
    with contextlib.suppress(FileNotFoundError):
        os.stat(name, dir_fd=at.fd, follow_symlinks=False)
        return True
    return False


def make_folder(at: Upkeep, name: str) -> None:
    """A fresh one. Raises OSError."""
    remove_tree(at.fd, name)
    os.mkdir(name, 0o700, dir_fd=at.fd)


def clear(at: Upkeep, name: str) -> None:
    """Take one away."""
    remove_tree(at.fd, name)


def move(at: Upkeep, name: str, to: str) -> None:
    """Give one another name, whose former holder goes. Raises OSError."""
    remove_tree(at.fd, to)
    os.rename(name, to, src_dir_fd=at.fd, dst_dir_fd=at.fd)


def settle(fd: int) -> None:
    """What was written to this file system is on the disk (syncfs(2)). Raises OSError."""
    syscall(_SYNCFS, fd)
