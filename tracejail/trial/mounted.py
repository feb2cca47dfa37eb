"""A jail as it is now, to run a program in: its mounts with their flags, and whatever is written stays in memory."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from tracejail.kernel import mounts
from tracejail.kernel.mountinfo import MountLine, mount_lines
from tracejail.model import JailPath, Mount

from .overlays import overlay_tree
from .target import MOUNT_TYPES

# File systems whose objects the kernel makes: each stage has its own of them (Stage.mounts), and no copy.
_OWN = frozenset(kind for kind, _ in MOUNT_TYPES.values())
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
    """The mount that a jail lies on, as "/", and those beneath it; of several at one place the last."""
    return _beneath(os.path.realpath(jail), mount_lines())


def mounts_of(process: int, root: int, path: str) -> tuple[MountLine, ...]:
    """The same for the root directory of a process, which is open here, and lies at `path` ("" where it is not to be had so)."""
    inner = _beneath("/", mount_lines(str(process)))
    if inner and inner[0].point == "/":
        return inner
    # Of the mount that a root lies in the midst of its process is told nothing.
    outer = jail_mounts(path)[:1] if path else ()
    flags = os.fstatvfs(root).f_flag   # with those of the mount, statvfs(3); as MS_*
    own = frozenset(name for name, bit in _BITS.items() if flags & bit)
    first = outer[0] if outer else MountLine("/", "/", own, "its file system", "")
    return (MountLine("/", first.root, own, first.type, first.source), *inner)


def _beneath(real: str, lines: list[MountLine]) -> tuple[MountLine, ...]:
    below = real.rstrip("/") + "/"
    first: MountLine | None = None
    found: dict[str, MountLine] = {}
    for line in lines:
        if real == line.point or real.startswith(line.point.rstrip("/") + "/"):
            if first is None or len(line.point) >= len(first.point):
                first, found = line, {}  # what was mounted beneath before is covered
        elif line.point.startswith(below):
            inner = "/" + line.point[len(below) :]
            found = {path: other for path, other in found.items() if not path.startswith(inner + "/")}
            found[inner] = line
    own = [_inner(first, "/")] if first else []
    return (*own, *(_inner(line, path) for path, line in sorted(found.items())))


def _inner(line: MountLine, path: str) -> MountLine:
    return MountLine(path, line.root, line.flags, line.type, line.source)


@contextlib.contextmanager
def mounted(jail: str, above: int = -1) -> Iterator[Mounted]:
    """`above`: a descriptor of a layer of changes to the jail. Raises KernelLacksError, OSError."""
    with contextlib.ExitStack() as stack:
        root, attached, own = -1, [], []
        for line in jail_mounts(jail):
            flags = sum(bit for name, bit in _BITS.items() if name in line.flags)
            place = jail if line.point == "/" else os.path.join(os.path.realpath(jail), line.point.lstrip("/"))
            if line.point != "/" and line.type in _OWN:
                own.append(Mount(line.type, JailPath(line.point)))
            elif stat.S_ISDIR(os.stat(place).st_mode):
                lower = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, lower)
                layer = stack.enter_context(overlay_tree(lower, flags, above if line.point == "/" else -1))
                if line.point == "/":
                    root = layer
                else:
                    attached.append((layer, line.point))
            else:  # a file, a device or a socket that is bound: those of the host itself
                bound = mounts.clone(place)
                stack.callback(os.close, bound)
                mounts.set_read_only(bound)
                attached.append((bound, line.point))
        yield Mounted(root, tuple(attached), tuple(own))
