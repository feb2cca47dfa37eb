"""The host side as a root of its own (`--from ROOT`): every look-up goes through its descriptor and stays beneath."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tracejail.errors import InputOutputError, UsageError
from tracejail.kernel import filesystem
from tracejail.kernel.outside import attributes_of, owner_of
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


class ClosedError(InputOutputError):
    """This user may not read or search it (exit 5)."""


class GoneError(InputOutputError):
    """It is not on the host, or no longer (exit 5)."""


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
    closed: bool = False     # in a directory that this user may not search: what it is can't be known


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
    if isinstance(error, PermissionError):
        return ClosedError(f"{path}: {os.strerror(error.errno or 0)} on the host", "call it as root, who may read it")
    return InputOutputError(f"{path}: {os.strerror(error.errno or 0)} on the host", "see whether root can read it there")


def _virtual(host: HostRoot, fd: int, status: os.stat_result) -> str:
    virtual = host.types.get(status.st_dev)
    if virtual is None:
        virtual = host.types[status.st_dev] = _VIRTUAL.get(filesystem.type_of(fd), "")
    return virtual


def inspect(host: HostRoot, path: JailPath) -> HostNode | None:
    """What the host has at `path`, the last name not followed; None if nothing. Raises InputOutputError."""
    try:
        fd = _open(host, path)
    except ClosedError:
        return HostNode(path, EntryType.FILE, 0, 0, 0, 0, 0, (0, 0), 1, "", None, "", closed=True)
    if fd is None:
        return None
    try:
        status = os.fstat(fd)
        kind = TYPES[stat.S_IFMT(status.st_mode)]
        virtual = _virtual(host, fd, status)
        is_device = kind in (EntryType.CHARACTER, EntryType.BLOCK)
        user, group = owner_of(fd, status)
        return HostNode(
            path=path,
            type=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=user,
            gid=group,
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


def inode_flags(host: HostRoot, path: JailPath) -> frozenset[str]:
    """What keeps an object from being changed, the last name not followed: see kernel.filesystem. () where it is not there."""
    try:
        fd = _open(host, path)
        if fd is None:
            return frozenset()
        try:
            return filesystem.inode_flags(fd)
        finally:
            os.close(fd)
    except (ClosedError, OSError):
        return frozenset()


def open_source(host: HostRoot, path: JailPath) -> int:
    """A descriptor to read a regular file. FIFOs, sockets and devices are looked at but never opened: reading one
    may block or have effects, as may one of a virtual file system (/proc/kmsg). Raises InputOutputError."""
    fd = _open(host, path)
    if fd is None:
        raise GoneError(f"{path}: it is no longer on the host", "try again")
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InputOutputError(f"{path}: is not a regular file", "only regular files are copied")
        virtual = _virtual(host, fd, status)
        if virtual:
            raise InputOutputError(f"{path}: is on a {virtual} file system", "mount that file system in the jail instead")
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _failure(path, error) from None
    finally:
        os.close(fd)


def open_directory(host: HostRoot, path: JailPath) -> HostRoot:
    """A directory of the host as a root of its own. Raises InputOutputError."""
    fd = _open(host, path)
    if fd is None:
        raise GoneError(f"{path}: No such file or directory on the host", "it changed meanwhile")
    return HostRoot(HostPath(f"{host.path.rstrip('/')}{path}"), fd)


def may_read(host: HostRoot, path: JailPath) -> bool:
    """Whether this user may read a regular file."""
    try:
        os.close(open_source(host, path))
    except ClosedError:
        return False
    return True


def read_start(host: HostRoot, path: JailPath, limit: int) -> bytes:
    """At most `limit` bytes from the start of a regular file, its links followed; b"" where that can't be had
    and for an object of a virtual file system."""
    try:
        fd = openat2(host.fd, path, os.O_PATH | os.O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS)
    except OSError:
        return b""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or _virtual(host, fd, status):
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


def open_names(host: HostRoot, path: JailPath) -> list[str]:
    """The same; none where this user may not read them."""
    try:
        return names(host, path)
    except ClosedError:
        return []


def xattrs(host: HostRoot, path: JailPath) -> tuple[tuple[str, str], ...]:
    """Extended attributes that belong to the file (capabilities, ACLs, user.*), sorted, values as hexadecimal."""
    fd = _open(host, path)
    if fd is None:
        return ()
    try:
        found = attributes_of(fd)
    finally:
        os.close(fd)
    kept = sorted(name for name in found if name in _KEPT_XATTRS or name.startswith("user."))
    return tuple((name, found[name].hex()) for name in kept)


def glob(host: HostRoot, pattern: str) -> list[str]:
    """The paths beneath a host root that a pattern of glob(7) matches, sorted."""
    found = [""]
    for part in pattern.strip("/").split("/"):
        if re.search(r"[*?[]", part):
            found = [
                f"{above}/{name}" for above in found for name in _names(host, above)
                if fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
            ]
        else:
            found = [f"{above}/{part}" for above in found]
    return [path for path in sorted(found) if inspect(host, JailPath(path))]


def _names(host: HostRoot, path: str) -> list[str]:
    try:
        return names(host, JailPath(path + "/."))
    except InputOutputError:
        return []
