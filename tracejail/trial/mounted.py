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

from .target import MOUNT_TYPES, overlay_tree, scratch_tree

# File systems whose objects the kernel makes: each stage has its own of them (Stage.mounts), and no copy.
_OWN = frozenset(kind for kind, _ in MOUNT_TYPES.values())
_FLAGS = {"ro": mounts.MS_RDONLY, "nosuid": mounts.MS_NOSUID, "nodev": mounts.MS_NODEV, "noexec": mounts.MS_NOEXEC}


@dataclass(frozen=True, slots=True)
class Mounted:
    """A jail that is shown without being touched: a descriptor of its root, the mounts beneath for Stage.attached, and
    those of the kernel's own for Stage.mounts. `lines` has them all, their points as seen from the jail."""

    root: int
    attached: tuple[tuple[int, str], ...]
    own: tuple[Mount, ...]
    lines: tuple[MountLine, ...]


def jail_mounts(jail: str) -> tuple[MountLine, ...]:
    """The mount that a jail lies on, as "/", and those beneath it; of several at one place the last."""
    real = os.path.realpath(jail)
    below = real.rstrip("/") + "/"
    first: MountLine | None = None
    found: dict[str, MountLine] = {}
    for line in mount_lines():
        if real == line.point or real.startswith(line.point.rstrip("/") + "/"):
            if first is None or len(line.point) >= len(first.point):
                first, found = line, {}  # what was mounted beneath before is covered
        elif line.point.startswith(below):
            inner = "/" + line.point[len(below) :]
            found = {path: other for path, other in found.items() if not path.startswith(inner + "/")}
            found[inner] = line
    lines = [_inner(first, "/")] if first else []
    return (*lines, *(_inner(line, path) for path, line in sorted(found.items())))


def _inner(line: MountLine, path: str) -> MountLine:
    return MountLine(path, line.root, line.flags, line.type, line.source)


@contextlib.contextmanager
def mounted(jail: str, above: int = -1) -> Iterator[Mounted]:
    """`above`: a descriptor of a layer of changes to the jail. Raises KernelLacksError, OSError."""
    lines = jail_mounts(jail)
    with contextlib.ExitStack() as stack:
        root, attached, own = -1, [], []
        for line in lines:
            flags = sum(bit for name, bit in _FLAGS.items() if name in line.flags)
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
            else:  # a device or a socket that is bound; a file is bound as it is, and none but it can be written
                bound = mounts.clone(place)
                stack.callback(os.close, bound)
                attached.append((bound, line.point))
        yield Mounted(root, tuple(attached), tuple(own), lines)


@dataclass(frozen=True, slots=True)
class Changes:
    """A layer of changes to a jail, in memory: a descriptor of the scratch that holds it, and one of the layer itself."""

    scratch: int
    layer: int


@contextlib.contextmanager
def changes(jail: int) -> Iterator[Changes]:
    """An empty layer for the tree of a descriptor. Raises KernelLacksError."""
    with scratch_tree() as scratch:
        for name in ("layer", "work"):
            os.mkdir(name, 0o755, dir_fd=scratch.fd)
        status = os.fstat(jail)
        os.chown("layer", scratch.powers.user(status.st_uid), scratch.powers.group(status.st_gid), dir_fd=scratch.fd)
        os.chmod("layer", stat.S_IMODE(status.st_mode), dir_fd=scratch.fd)
        layer = os.open("layer", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=scratch.fd)
        try:
            yield Changes(scratch.fd, layer)
        finally:
            os.close(layer)


@contextlib.contextmanager
def changeable(jail: int, made: Changes) -> Iterator[int]:
    """The tree with its changes, to make more of them. Raises OSError."""
    prefix = "/proc/self/fd"
    options = {
        "lowerdir": f"{prefix}/{jail}", "upperdir": f"{prefix}/{made.scratch}/layer", "workdir": f"{prefix}/{made.scratch}/work",
    }
    with mounts.new_mount("overlay", options) as root:
        yield root


@contextlib.contextmanager
def changed(jail: int, made: Changes) -> Iterator[int]:
    """The tree with its changes, to look at. Raises OSError."""
    options = {"lowerdir": f"/proc/self/fd/{made.layer}:/proc/self/fd/{jail}"}
    with mounts.new_mount("overlay", options, mounts.MS_RDONLY) as root:
        yield root
