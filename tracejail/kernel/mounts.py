"""Mounts by descriptor (fsopen(2), fsmount(2), move_mount(2)), pivot_root(2), and what lies on them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator

from .syscalls import libc, syscall

_FSOPEN, _FSCONFIG, _FSMOUNT, _MOVE_MOUNT, _OPEN_TREE, _PIVOT_ROOT = 430, 431, 432, 429, 428, 155
_SET_STRING, _CREATE = 1, 6
_CLOEXEC = 1
_MOVE_EMPTY_PATH, _MOVE_TO_EMPTY_PATH = 0x4, 0x40
_MOUNT_SETATTR, _EMPTY_PATH = 442, 0x1000
_TREE_CLONE, _TREE_CLOEXEC, _RECURSIVE = 0x1, os.O_CLOEXEC, 0x8000
_MNT_DETACH = 2
_NO_MOUNT_POINT = "the root directory here is no mount point, as in a chroot: mount --bind it onto itself before the chroot"
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
_MS_REC, _MS_PRIVATE = 16384, 1 << 18


def prepare(file_system: str, options: dict[str, str], flags: int = 0) -> int:
    """A new mount that is attached nowhere, as an O_PATH descriptor of its root. `flags` are MS_RDONLY, MS_NOSUID, MS_NODEV
    and MS_NOEXEC, whose values MOUNT_ATTR_* share. Raises OSError naming the file system."""
    try:
        context = syscall(_FSOPEN, file_system.encode(), _CLOEXEC)
        try:
            for key, value in options.items():
                syscall(_FSCONFIG, context, _SET_STRING, key.encode(), os.fsencode(value), 0)
            syscall(_FSCONFIG, context, _CREATE, None, None, 0)
            return syscall(_FSMOUNT, context, _CLOEXEC, flags)
        finally:
            os.close(context)
    except OSError as error:
        raise OSError(error.errno, f"mount of {file_system}: {os.strerror(error.errno or 0)}") from None


def clone(path: str, recursive: bool = False) -> int:
    """What is at `path` as a mount of its own that is attached nowhere yet (open_tree(2)), for `attach`. Raises OSError."""
    try:
        return syscall(_OPEN_TREE, -100, os.fsencode(path), _TREE_CLONE | _TREE_CLOEXEC | (_RECURSIVE if recursive else 0))
    except OSError as error:
        raise OSError(error.errno, f"a bind mount of {path}: {os.strerror(error.errno or 0)}") from None


def clone_of(place: int, name: str) -> int:
    """The same, with the mounts beneath it, of what a descriptor of this mount namespace stands for. Raises OSError."""
    try:
        return syscall(_OPEN_TREE, place, b"", _TREE_CLONE | _TREE_CLOEXEC | _EMPTY_PATH | _RECURSIVE)
    except OSError as error:
        raise OSError(error.errno, f"a bind mount of {name}: {os.strerror(error.errno or 0)}") from None


@contextlib.contextmanager
def new_mount(file_system: str, options: dict[str, str], flags: int = 0) -> Iterator[int]:
    """A new mount that is attached nowhere, as a directory descriptor of its root that can be read and written.

    It is gone when the block is left and its last mount namespace is. Raises OSError naming the file system.
    """
    detached = prepare(file_system, options, flags)
    try:
        # fsmount(2) gives an O_PATH descriptor; getdents and O_TMPFILE want a real one of the same mount. The first
        # one stays open: closing it before the mount is attached dissolves the mount.
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=detached)
        try:
            yield root
        finally:
            os.close(root)
    finally:
        os.close(detached)


def set_read_only(mount: int) -> None:
    """Nothing is written through a mount any more (mount_setattr(2), Linux 5.12); a device behind it can be used all the
    same. Raises OSError."""
    restrict(mount, MS_RDONLY)


def restrict(mount: int, flags: int, recursive: bool = False) -> None:
    """Set MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC of a mount, and (`recursive`) of all beneath it. Raises OSError."""
    attributes = struct.pack("=4Q", flags, 0, 0, 0)   # struct mount_attr: attr_set; MOUNT_ATTR_* have these values
    syscall(_MOUNT_SETATTR, mount, b"", _EMPTY_PATH | (_RECURSIVE if recursive else 0), attributes, len(attributes))


def attach(mount: int, path: str) -> None:
    """Put a detached mount (a descriptor of its root) at `path` of the calling process's mount namespace."""
    try:
        syscall(_MOVE_MOUNT, mount, b"", -100, os.fsencode(path), _MOVE_EMPTY_PATH)
    except OSError as error:
        raise OSError(error.errno, f"mount on {path}: {os.strerror(error.errno or 0)}") from None


def attach_to(mount: int, place: int, name: str) -> None:
    """The same, on what a descriptor stands for. Raises OSError."""
    try:
        syscall(_MOVE_MOUNT, mount, b"", place, b"", _MOVE_EMPTY_PATH | _MOVE_TO_EMPTY_PATH)
    except OSError as error:
        raise OSError(error.errno, f"mount on {name}: {os.strerror(error.errno or 0)}") from None


def mount(source: str, target: str, file_system: str, flags: int, data: str = "") -> None:
    """mount(2). Raises OSError naming the target."""
    if libc.mount(os.fsencode(source), os.fsencode(target), file_system.encode(), flags, data.encode()) < 0:
        _fail(f"mount on {target}")


def make_private() -> None:
    """No mount or unmount of this mount namespace reaches another (MS_REC | MS_PRIVATE on /)."""
    if libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) < 0:
        if ctypes.get_errno() == errno.EINVAL:
            raise OSError(errno.EINVAL, _NO_MOUNT_POINT)
        _fail("making / private")


def enter_root(new_root: int) -> None:
    """Make an attached mount the root of this mount namespace and let the old one go (pivot_root(2), NOTES)."""
    os.fchdir(new_root)
    try:
        syscall(_PIVOT_ROOT, b".", b".")
    except OSError as error:
        raise OSError(error.errno, _NO_MOUNT_POINT if error.errno == errno.EINVAL else f"pivot_root: {error.strerror}") from None
    if libc.umount2(b".", _MNT_DETACH) < 0:
        _fail("unmount of the old root")
    os.chdir("/")


def _fail(what: str) -> None:
    code = ctypes.get_errno() or errno.EIO
    raise OSError(code, f"{what}: {os.strerror(code)}")
