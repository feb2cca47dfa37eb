"""The host side as a root of its own (`--from ROOT`): every look-up goes through its descriptor and stays beneath."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field

from tracejail.errors import InputOutputError, UsageError
from tracejail.kernel.filesystem import type_of
from tracejail.kernel.paths import IN_ROOT, NO_MAGICLINKS, O_PATH_NOFOLLOW, openat2
from tracejail.model import TYPES, EntryType, HostPath, JailPath

# Magic numbers of statfs(2): file systems whose objects are made by the kernel or by another program at each read.
_VIRTUAL = {
    0x9FA0: "proc",
    0x62656572: "sys",
    0x1CD1: "devpts",
    0x27E0EB: "cgroup",
    0x63677270: "cgroup2",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
    0x73636673: "securityfs",
    0x19800202: "mqueue",
    0xCAFE4A11: "bpf",
    0x62656570: "configfs",
    0xDE5E81E4: "efivarfs",
    0x42494E4D: "binfmt_misc",
    0x65735546: "fuse",
    0x6165676C: "pstore",
    0xF97CFF8C: "selinuxfs",
    0x0187: "autofs",
}
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_KEPT_XATTRS = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")


@dataclass(frozen=True, slots=True)
class HostRoot:
    """A host root by path and directory descriptor; remembers the type of each file system that it met."""

    path: HostPath
    fd: int
    types: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostNode:
    """An object of the host. `virtual` names the file system where its objects can't be copied, "" elsewhere."""

    path: JailPath
    type: EntryType
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    inode: tuple[int, int]
    links: int
    target: str
    device: tuple[int, int] | None
    virtual: str


def open_host_root(path: str) -> HostRoot:
    """Raises UsageError if `path` is no directory that can be opened."""
    try:
        return HostRoot(HostPath(os.path.abspath(path)), os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise UsageError(f"{path}: {os.strerror(error.errno or 0)}", "name the root directory of a tree") from None


def _open(host: HostRoot, path: JailPath) -> int | None:
    try:
        return openat2(host.fd, path, O_PATH_NOFOLLOW, 0, IN_ROOT | NO_MAGICLINKS)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise _failure(path, error) from None


def _failure(path: str, error: OSError) -> InputOutputError:
    return InputOutputError(f"{path}: {os.strerror(error.errno or 0)} on the host", "see whether root can read it there")


def inspect(host: HostRoot, path: JailPath) -> HostNode | None:
    """What the host has at `path`, the last name not followed; None if nothing. Raises InputOutputError."""
    fd = _open(host, path)
    if fd is None:
        return None
    try:
        status = os.fstat(fd)
        kind = TYPES[stat.S_IFMT(status.st_mode)]
        virtual = host.types.get(status.st_dev)
        if virtual is None:
            virtual = host.types[status.st_dev] = _VIRTUAL.get(type_of(fd), "")
        is_device = kind in (EntryType.CHARACTER, EntryType.BLOCK)
        return HostNode(
            path=path,
            type=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=(status.st_dev, status.st_ino),
            links=status.st_nlink,
            target=os.readlink("", dir_fd=fd) if kind is EntryType.SYMLINK else "",
            device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else None,
            virtual=virtual,
        )
    finally:
        os.close(fd)


def open_source(host: HostRoot, path: JailPath) -> int:
    """A descriptor to read a regular file. FIFOs, sockets and devices are looked at but never opened: reading one
    may block or have effects. Raises InputOutputError."""
    fd = _open(host, path)
    if fd is None:
        raise InputOutputError(f"{path}: it is no longer on the host", "try again")
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InputOutputError(f"{path}: is not a regular file", "only regular files are copied")
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _failure(path, error) from None
    finally:
        os.close(fd)


def read_start(host: HostRoot, path: JailPath, limit: int) -> bytes:
    """At most `limit` bytes from the start of a regular file, its links followed; b"" where that can't be had."""
    try:
        fd = openat2(host.fd, path, os.O_PATH | os.O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as stream:
            return stream.read(limit) or b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def names(host: HostRoot, path: JailPath) -> list[str]:
    """The names in a directory, sorted. Raises InputOutputError."""
    fd = _open(host, path)
    if fd is None:
        return []
    try:
        directory = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return sorted(os.listdir(directory))
        finally:
            os.close(directory)
    except OSError as error:
        raise _failure(path, error) from None
    finally:
        os.close(fd)


def xattrs(host: HostRoot, path: JailPath) -> tuple[tuple[str, str], ...]:
    """Extended attributes that belong to the file (capabilities, ACLs, user.*), sorted, values as hexadecimal."""
    fd = _open(host, path)
    if fd is None:
        return ()
    try:
        where = f"/proc/self/fd/{fd}"
        kept = [name for name in os.listxattr(where) if name in _KEPT_XATTRS or name.startswith("user.")]
        return tuple((name, os.getxattr(where, name).hex()) for name in sorted(kept))
    except OSError:
        return ()  # a file system without attributes
    finally:
        os.close(fd)
