"""A whole tree into another one: a scratch copy of a jail to run in, so that the jail itself is not changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tracejail.errors import InputOutputError
from tracejail.kernel.paths import O_PATH_NOFOLLOW, is_mounted
from tracejail.model import Entry, EntryType

from .tree import Attributes, Tree, make_directory, make_file, make_hard_link, make_node, make_symlink, set_directory

_NODES = {
    stat.S_IFCHR: EntryType.CHARACTER,
    stat.S_IFBLK: EntryType.BLOCK,
    stat.S_IFIFO: EntryType.FIFO,
    stat.S_IFSOCK: EntryType.SOCKET,
}


@dataclass(frozen=True, slots=True)
class TreeSize:
    """What a tree would take: bytes on disk and number of objects."""

    bytes: int
    objects: int


def copy_tree(source: int, target: Tree, known: Mapping[str, Entry]) -> None:
    """Copy all beneath the directory descriptor `source`, with owners, modes, times, holes and hard links; another
    mount in it is left out. Where the target can't be given all of that, a jail that was made by such a one may lack it as
    well: then the `known` entries, by their paths, say what is meant. Raises InputOutputError."""
    if target.powers.whole:
        known = {}
    device = os.fstat(source).st_dev
    first_names: dict[tuple[int, int], str] = {}
    directories = [("/", os.fstat(source))]
    done = 0
    set_directory(target, "/", _attributes(directories[0][1]))
    while done < len(directories):
        path, _ = directories[done]
        done += 1
        for name in sorted(_names(source, path)):
            child = path.rstrip("/") + "/" + name
            try:
                fd = os.open(child.lstrip("/"), O_PATH_NOFOLLOW, dir_fd=source)
            except OSError as error:
                raise InputOutputError(f"{child}: {os.strerror(error.errno or 0)}", "see whether the jail is sound") from None
            try:
                status = os.fstat(fd)
                if status.st_dev == device or not is_mounted(source, child):
                    _copy_one(fd, status, child, target, first_names, known.get(child))
                    if stat.S_ISDIR(status.st_mode):
                        directories.append((child, status))
            finally:
                os.close(fd)
    for path, status in reversed(directories):
        set_directory(target, path, _meant(_attributes(status), known.get(path)))


def size_of(source: int) -> TreeSize:
    """What `copy_tree` would take."""
    total = objects = 0
    pending = ["."]
    while pending:
        path = pending.pop()
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    objects += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{path}/{entry.name}")
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        finally:
            os.close(fd)
    return TreeSize(total, objects)


def _names(source: int, path: str) -> list[str]:
    fd = os.open(path.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _attributes(status: os.stat_result) -> Attributes:
    return Attributes(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)


def _meant(found: Attributes, entry: Entry | None) -> Attributes:
    if entry is None:
        return found
    return Attributes(entry.mode, entry.uid, entry.gid, found.mtime_ns, entry.xattrs or found.xattrs)


def _copy_one(
    fd: int, status: os.stat_result, path: str, target: Tree, first_names: dict[tuple[int, int], str], entry: Entry | None
) -> None:
    attributes = _meant(_attributes(status), entry)
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        make_directory(target, path, replace(attributes, mode=attributes.mode | 0o700))
    elif kind == stat.S_IFLNK:
        make_symlink(target, path, os.readlink("", dir_fd=fd), attributes)
    elif entry is not None and entry.device is not None:
        make_node(target, path, entry.type, entry.device, attributes)
    elif kind != stat.S_IFREG:
        number = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in (stat.S_IFCHR, stat.S_IFBLK) else None
        make_node(target, path, _NODES[kind], number, attributes)
    elif status.st_nlink > 1 and (status.st_dev, status.st_ino) in first_names:
        make_hard_link(target, path, first_names[status.st_dev, status.st_ino])
    else:
        first_names[status.st_dev, status.st_ino] = path
        where = f"/proc/self/fd/{fd}"
        try:
            kept = tuple((name, os.getxattr(where, name).hex()) for name in os.listxattr(where))
            source = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise InputOutputError(f"{path}: Permission denied in the jail", "call it as the user who built the jail") from None
        try:
            make_file(target, path, source, replace(attributes, xattrs=attributes.xattrs or kept), digest=False)
        finally:
            os.close(source)
