"""A jail as it is now, to run a program in: its mounts with their flags, and whatever is written stays in memory."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tracejail.errors import KernelLacksError
from tracejail.kernel import mounts
from tracejail.kernel.mountinfo import MountLine, mount_lines, shown_at
from tracejail.kernel.unix_sockets import listened
from tracejail.model import JailPath, Mount

from .overlays import overlay_tree
from .target import MOUNT_TYPES

# File systems whose objects the kernel makes: each stage has its own of them (Stage.mounts), and no copy.
_OWN = frozenset(kind for kind, _ in MOUNT_TYPES.values())
_SPARED = "256m"   # of memory, as tmpfs(5) has it
_MOST = 200_000    # names that are looked at
FLAGS = frozenset(("ro", "nosuid", "nodev", "noexec"))   # those that a program meets
_BITS = {"ro": mounts.MS_RDONLY, "nosuid": mounts.MS_NOSUID, "nodev": mounts.MS_NODEV, "noexec": mounts.MS_NOEXEC}


@dataclass(frozen=True, slots=True)
class Mounted:
    """A jail that is shown without being touched: a descriptor of its root, the mounts beneath for Stage.attached, and
    those of the kernel's own for Stage.mounts."""

    root: int
    attached: tuple[tuple[int, str], ...]
    own: tuple[Mount, ...]


def jail_mounts(jail: str) -> tuple[MountLine, ...]:
    """The mount that a jail lies on, as "/", and those beneath it that can be seen."""
    real = os.path.realpath(jail)
    first, beneath = shown_at(real, mount_lines())
    inner = (replace(line, point="/" + line.point[len(real.rstrip("/")) :].lstrip("/")) for line in beneath)
    return (*((replace(first, point="/"),) if first else ()), *sorted(inner, key=lambda line: line.point))


def full(place: str) -> str:
    """What the file system of a place has no more of (statvfs(3)): space or inodes; "" for nothing, or where that is not
    known."""
    try:
        status = os.statvfs(place)
    except OSError:
        return ""
    if status.f_blocks and not status.f_bavail:
        return "space"
    return "inodes" if status.f_files and not status.f_favail else ""


def mounts_of(process: int, root: int, path: str) -> tuple[MountLine, ...]:
    """The same for the root directory of a process, which is open here, and lies at `path` ("" where it is not to be had so)."""
    whole, inner = shown_at("/", mount_lines(str(process)))
    if whole is not None:
        return (whole, *inner)
    # Of the mount that a root lies in the midst of its process is told nothing.
    outer = jail_mounts(path)[:1] if path else ()
    flags = os.fstatvfs(root).f_flag   # with those of the mount, statvfs(3); as MS_*
    own = frozenset(name for name, bit in _BITS.items() if flags & bit)
    first = outer[0] if outer else MountLine("/", "/", own, "its file system", "")
    return (MountLine("/", first.root, own, first.type, first.source), *inner)


def live_sockets(jail: str) -> list[str]:
    """The sockets in a jail's own tree that somebody listens on: through an overlay nobody would, one has its own inodes."""
    known = listened()
    found: list[str] = []
    pending = [jail] if known else []
    seen = 0
    while pending and seen < _MOST:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                seen += 1
                if entry.is_dir(follow_symlinks=False):
                    if not os.path.ismount(entry.path):
                        pending.append(entry.path)
                elif not entry.is_file(follow_symlinks=False) and not entry.is_symlink():
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISSOCK(status.st_mode) and (status.st_dev, status.st_ino & 0xFFFFFFFF) in known:
                        found.append("/" + os.path.relpath(entry.path, jail))
    return found


@contextlib.contextmanager
def mounted(jail: str, above: int = -1) -> Iterator[Mounted]:
    """`above`: a descriptor of a layer of changes to the jail. Raises KernelLacksError, OSError."""
    with contextlib.ExitStack() as stack:
        shown = _show(stack, jail, jail_mounts(jail), above)
        heard = []
        for path in live_sockets(jail):
            heard.append((_bound(stack, jail.rstrip("/") + path), path))
        yield replace(shown, attached=(*shown.attached, *heard))


@contextlib.contextmanager
def outside(root: str) -> Iterator[Mounted]:
    """A host root as a jail is shown, but that no device of it can be opened: those of Stage.devices lie over them. A mount
    of which the kernel makes no overlay is left out, and there is room for as many changes as memory can always spare.

    Raises KernelLacksError, OSError.
    """
    with contextlib.ExitStack() as stack:
        lines = jail_mounts(root)
        own = tuple(f"{line.point}/" for line in lines if line.point != "/" and line.type in _OWN)
        nodev = [replace(line, flags=line.flags | {"nodev"}) for line in lines if not line.point.startswith(own)]
        yield _show(stack, root, nodev, most=_SPARED)


def _show(
    stack: contextlib.ExitStack, jail: str, lines: Iterable[MountLine], above: int = -1, most: str = ""
) -> Mounted:
    root = -1
    attached: list[tuple[int, str]] = []
    own: dict[Mount, None] = {}
    for line in lines:
        place = jail if line.point == "/" else os.path.join(os.path.realpath(jail), line.point.lstrip("/"))
        if line.point == "/":
            root = _layer(stack, place, line, above, most)
        elif line.type in _OWN:
            own[Mount(line.type, JailPath(line.point))] = None
        else:
            try:
                attached.append((_layer(stack, place, line, most=most), line.point))
            except (KernelLacksError, OSError):
                if not most:
                    raise
    return Mounted(root, tuple(attached), tuple(own))


def _layer(stack: contextlib.ExitStack, place: str, line: MountLine, above: int = -1, most: str = "") -> int:
    if stat.S_ISDIR(os.stat(place).st_mode):
        lower = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, lower)
        flags = sum(bit for name, bit in _BITS.items() if name in line.flags)
        return stack.enter_context(overlay_tree(lower, flags, above, most or "50%"))
    return _bound(stack, place)  # a file, a device or a socket that is bound: those of the host itself


def _bound(stack: contextlib.ExitStack, place: str) -> int:
    bound = mounts.clone(place)
    stack.callback(os.close, bound)
    mounts.set_read_only(bound)
    return bound
