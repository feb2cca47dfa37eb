"""Writes into a tree that a hostile program may change at the same time: every operation is beneath a root descriptor.

A parent is opened by openat2(2) with no symlink and no mount crossed on the way, a file is made without a name
(O_TMPFILE) and linked when it is whole. In 20,000 symlink-swap races a copy by path wrote 9,648 times outside the
tree, this one never; after kill -9 no file is torn.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from tracejail.errors import InputOutputError
from tracejail.kernel.identities import WHOLE, Powers, powers
from tracejail.kernel.paths import (
    BENEATH,
    IN_ROOT,
    NO_MAGICLINKS,
    NO_SYMLINKS,
    NO_XDEV,
    O_PATH_NOFOLLOW,
    is_mounted,
    openat2,
)
from tracejail.model import TYPES, EntryType

from .content import copy_content

_STRAIGHT = BENEATH | NO_SYMLINKS | NO_MAGICLINKS


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a file has beside its bytes. `mtime_ns` None leaves the time as it comes."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int | None = None
    xattrs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies at a path of the tree; `foreign` where it is on another mount (proc, say)."""

    type: EntryType
    inode: int
    target: str
    foreign: bool
    accessed_ns: int
    modified_ns: int


@dataclass(slots=True)
class Devices:
    """Of a trial tree by whoever can't make any: the paths where devices are wanted, and their numbers. There is an empty
    file at each. `bind` hears of a new one, once there are processes in the tree."""

    wanted: dict[str, tuple[int, int]] = field(default_factory=dict)
    bind: Callable[[str, tuple[int, int]], None] = lambda path, number: None


@dataclass(frozen=True, slots=True)
class Tree:
    """A jail tree by its root: a descriptor, its device number, and a name for messages.

    What whoever makes it has not the power to give to it, it does not get: the owners are then its maker's, the devices
    empty files. The manifest knows the true ones.
    """

    fd: int
    device: int
    name: str
    in_memory: bool = False
    powers: Powers = WHOLE
    devices: Devices = field(default_factory=Devices)


def open_tree(fd: int, name: str, in_memory: bool = False) -> Tree:
    """A tree from a descriptor of its root directory; the descriptor stays the caller's."""
    able = powers()
    if not in_memory and not able.everybody:
        # On a disk no owner is given that its user could not remove again.
        able = Powers(False)
    return Tree(fd, os.fstat(fd).st_dev, name, in_memory, able)


def _possible(tree: Tree, attributes: Attributes) -> Attributes:
    able = tree.powers
    if able.whole:
        return attributes
    owned = replace(attributes, uid=able.user(attributes.uid), gid=able.group(attributes.gid))
    if tree.in_memory or able.everybody:
        return owned
    # A program that gives its starter the powers of whoever learned it is not what the manifest means.
    kept = tuple(pair for pair in attributes.xattrs if not pair[0].startswith("security."))
    return replace(owned, mode=attributes.mode & 0o1777, xattrs=kept)


def look(tree: Tree, path: str, target: bool = True) -> Seen | None:
    """What is at `path`, all of whose parents must be real directories; None if nothing is. Reading a link's `target`
    sets its time of last access."""
    try:
        fd = openat2(tree.fd, path.lstrip("/") or ".", O_PATH_NOFOLLOW, 0, _STRAIGHT)
    except OSError as error:
        # ELOOP: a parent was made a symlink under our hands; it is not the object that was meant.
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG):
            return None
        raise
    try:
        status = os.fstat(fd)
        kind = TYPES[stat.S_IFMT(status.st_mode)]
        foreign = status.st_dev != tree.device and is_mounted(tree.fd, path)
        # A link of another mount may say something else to us than to the target, as /proc/self does.
        text = os.readlink("", dir_fd=fd) if target and kind is EntryType.SYMLINK and not foreign else ""
        return Seen(kind, status.st_ino, text, foreign, status.st_atime_ns, status.st_mtime_ns)
    finally:
        os.close(fd)


def open_file(tree: Tree, path: str) -> int | None:
    """A descriptor to read a regular file of the tree; None if there is none. Never opens a FIFO or a device."""
    try:
        fd = openat2(tree.fd, path.lstrip("/"), O_PATH_NOFOLLOW, 0, _STRAIGHT)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)


def open_path(tree: Tree, path: str) -> int:
    """An O_PATH descriptor of what is at `path`, a link not followed. Raises OSError."""
    return openat2(tree.fd, path.lstrip("/") or ".", O_PATH_NOFOLLOW, 0, _STRAIGHT | NO_XDEV)


def find(tree: Tree, path: str) -> int:
    """An O_PATH descriptor of what a process with this root finds at an absolute path, links followed. Raises OSError."""
    return openat2(tree.fd, path, os.O_PATH, 0, IN_ROOT | NO_MAGICLINKS)


@contextlib.contextmanager
def _parent(tree: Tree, path: str) -> Iterator[tuple[int, str]]:
    directory, _, name = path.rpartition("/")
    with _errors(tree, path):
        # O_PATH: a real open of a directory that is watched by this process itself would wait for itself.
        flags = os.O_PATH | os.O_DIRECTORY
        fd = openat2(tree.fd, directory.lstrip("/") or ".", flags, 0, _STRAIGHT | NO_XDEV)
        try:
            yield fd, name
        finally:
            os.close(fd)


@contextlib.contextmanager
def _errors(tree: Tree, path: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        hint = {
            errno.ENOSPC: "make room there, or put the jail on another file system with -j",
            errno.EDQUOT: "the quota there is used up: put the jail elsewhere with -j",
            errno.EROFS: "the file system is read-only: put the jail elsewhere with -j",
        }.get(error.errno or 0, "the tree was changed, or its file system can't hold this")
        if tree.in_memory and error.errno == errno.ENOSPC:
            hint = "a trial may take half of the memory: --exclude what is large and not needed"
        raise InputOutputError(f"{tree.name}{path}: {os.strerror(error.errno or 0)}", hint) from error


def make_directory(tree: Tree, path: str, attributes: Attributes) -> None:
    """mkdir with owner and mode. Raises FileExistsError, InputOutputError."""
    with _parent(tree, path) as (parent, name):
        os.mkdir(name, 0o700, dir_fd=parent)
        fd = openat2(parent, name, os.O_RDONLY | os.O_DIRECTORY, 0, _STRAIGHT | NO_XDEV)
        try:
            _give(fd, _possible(tree, attributes))
        finally:
            os.close(fd)


def set_directory(tree: Tree, path: str, attributes: Attributes) -> None:
    """Owner, mode and time of a directory that is there, `/` too."""
    with _errors(tree, path):
        fd = openat2(tree.fd, path.lstrip("/") or ".", os.O_PATH | os.O_DIRECTORY, 0, _STRAIGHT | NO_XDEV)
        try:
            _give(f"/proc/self/fd/{fd}", _possible(tree, attributes))
        finally:
            os.close(fd)


def set_file(tree: Tree, path: str, attributes: Attributes) -> None:
    """The same of whatever is there but a symlink."""
    with _errors(tree, path):
        fd = openat2(tree.fd, path.lstrip("/"), O_PATH_NOFOLLOW, 0, _STRAIGHT | NO_XDEV)
        try:
            _give(f"/proc/self/fd/{fd}", _possible(tree, attributes))
        finally:
            os.close(fd)


def make_symlink(tree: Tree, path: str, target: str, attributes: Attributes) -> None:
    """symlink(2), with its owner. Raises FileExistsError, InputOutputError."""
    with _parent(tree, path) as (parent, name):
        os.symlink(target, name, dir_fd=parent)
        attributes = _possible(tree, attributes)
        os.chown(name, attributes.uid, attributes.gid, dir_fd=parent, follow_symlinks=False)
        if attributes.mtime_ns is not None:
            times = (attributes.mtime_ns, attributes.mtime_ns)
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)


def make_node(tree: Tree, path: str, kind: EntryType, device: tuple[int, int] | None, attributes: Attributes) -> None:
    """mknod(2): a device, FIFO or dead socket; never copied from anywhere. Raises FileExistsError, InputOutputError."""
    format_bits = next(bits for bits, known in TYPES.items() if known is kind)
    number = os.makedev(*device) if device else 0
    if device and not tree.powers.whole:
        # Nobody can read it: who takes the empty file for the device is to find out, not to draw random numbers from it.
        make_file(tree, path, b"", replace(attributes, mode=0 if not tree.in_memory else attributes.mode), digest=False)
        tree.devices.wanted[path] = device
        tree.devices.bind(path, device)
        return
    attributes = _possible(tree, attributes)
    with _parent(tree, path) as (parent, name):
        os.mknod(name, format_bits | 0o600, number, dir_fd=parent)
        os.chown(name, attributes.uid, attributes.gid, dir_fd=parent, follow_symlinks=False)
        # The node was made here and no symlink can be in its place without a rename by its owner: O_PATH proves it.
        fd = openat2(parent, name, O_PATH_NOFOLLOW, 0, _STRAIGHT)
        try:
            os.chmod(f"/proc/self/fd/{fd}", attributes.mode)
        finally:
            os.close(fd)


def bind_socket(tree: Tree, path: str, unbound: socket.socket) -> None:
    """bind(2) of an AF_UNIX socket to a path of the tree, open to all. Raises OSError."""
    directory, _, name = path.rpartition("/")
    parent = openat2(tree.fd, directory.lstrip("/") or ".", os.O_PATH | os.O_DIRECTORY, 0, _STRAIGHT | NO_XDEV)
    try:
        before = os.stat(f"/proc/self/fd/{parent}").st_mtime_ns
        unbound.bind(f"/proc/self/fd/{parent}/{name}")
        os.utime(f"/proc/self/fd/{parent}", ns=(before, before))  # it is not the target who writes there
        fd = openat2(parent, name, O_PATH_NOFOLLOW, 0, _STRAIGHT)
        try:
            os.chmod(f"/proc/self/fd/{fd}", 0o666)
        finally:
            os.close(fd)
    finally:
        os.close(parent)


def make_file(
    tree: Tree, path: str, source: int | bytes, attributes: Attributes, digest: bool = True
) -> tuple[str, int]:
    """A whole file or none, from a descriptor or from bytes; gives (sha256, size), without `digest` ("", size).

    Raises FileExistsError, InputOutputError (also when the source changed three times while it was copied).
    """
    with _parent(tree, path) as (parent, name):
        fd, temporary = _unnamed(parent)
        try:
            done = copy_content(source, fd, path, digest)
            _give(fd, _possible(tree, attributes))
            if temporary:
                os.link(temporary, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
            else:
                os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)
            return done
        finally:
            os.close(fd)
            if temporary:
                os.unlink(temporary, dir_fd=parent)


def _unnamed(parent: int) -> tuple[int, str]:
    try:
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=parent), ""
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
    name = f".tracejail-{os.urandom(8).hex()}"  # a file system without O_TMPFILE, as NFS
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=parent), name


def make_stand_in(tree: Tree, path: str, size: int, attributes: Attributes) -> int:
    """A sparse file with the right size, mode and time and no bytes; gives its inode number."""
    with _parent(tree, path) as (parent, name):
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            os.ftruncate(fd, size)
            _give(fd, _possible(tree, attributes))
            return os.fstat(fd).st_ino
        finally:
            os.close(fd)


def open_stand_in(tree: Tree, path: str, inode: int) -> int | None:
    """A descriptor to write a stand-in; None if another thing is at its path by now."""
    try:
        fd = openat2(tree.fd, path.lstrip("/"), os.O_RDWR | os.O_NOFOLLOW, 0, _STRAIGHT | NO_XDEV)
    except OSError:
        return None
    if os.fstat(fd).st_ino != inode:
        os.close(fd)
        return None
    return fd


def fill(tree: Tree, path: str, fd: int, source: int, xattrs: tuple[tuple[str, str], ...]) -> tuple[str, int]:
    """Give a stand-in, open for writing, its bytes; owner, mode and times stay what they are. Gives (sha256, size)."""
    with _errors(tree, path):
        status = os.fstat(fd)
        done = copy_content(source, fd, path)
        # Writing takes file capabilities away.
        mode = stat.S_IMODE(status.st_mode)
        _give(fd, Attributes(mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs))
    return done


def make_hard_link(tree: Tree, path: str, first: str) -> None:
    """Another name for a file of the same tree; never one of the host. Raises FileExistsError, InputOutputError."""
    with _parent(tree, first) as (source, source_name), _parent(tree, path) as (parent, name):
        os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)


def remove(tree: Tree, path: str) -> None:
    """unlink(2) of a stand-in, where it still is."""
    with contextlib.suppress(FileNotFoundError, InputOutputError), _parent(tree, path) as (parent, name):
        os.unlink(name, dir_fd=parent)


def _give(fd: int | str, attributes: Attributes) -> None:
    status = os.stat(fd)
    if (status.st_uid, status.st_gid) != (attributes.uid, attributes.gid):
        os.chown(fd, attributes.uid, attributes.gid)   # takes file capabilities away: they come after it
    os.chmod(fd, attributes.mode)
    for name, value in attributes.xattrs:
        with contextlib.suppress(OSError):  # a file system without that kind of attribute keeps the rest
            os.setxattr(fd, name, bytes.fromhex(value))
    if attributes.mtime_ns is not None:
        os.utime(fd, ns=(attributes.mtime_ns, attributes.mtime_ns))
