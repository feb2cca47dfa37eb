"""Overlays over a tree that is not to change: what is written to them stays in memory."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from tracejail.errors import KernelLacksError
from tracejail.kernel import mounts
from tracejail.kernel.mounts import new_mount

from .target import scratch_tree


@dataclass(frozen=True, slots=True)
class Changes:
    """A layer of changes to a tree, in memory: descriptors of the scratch that holds it, and of the layer itself."""

    scratch: int
    layer: int


@contextlib.contextmanager
def changes(lower: int, most: str = "50%") -> Iterator[Changes]:
    """An empty layer for the tree of a descriptor; `most` of memory, as size of tmpfs(5). Raises KernelLacksError."""
    with scratch_tree(most) as scratch:
        for name in ("work", "upper"):
            os.mkdir(name, 0o755, dir_fd=scratch.fd)
        status = os.fstat(lower)
        able = scratch.powers
        os.chown("upper", able.user(status.st_uid), able.group(status.st_gid), dir_fd=scratch.fd)
        os.chmod("upper", stat.S_IMODE(status.st_mode), dir_fd=scratch.fd)
        layer = os.open("upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=scratch.fd)
        try:
            yield Changes(scratch.fd, layer)
        finally:
            os.close(layer)


@contextlib.contextmanager
def changeable(lower: int, made: Changes, flags: int = 0, above: int = -1) -> Iterator[int]:
    """A mount of the tree with its changes, to make more of them. `flags` are those of kernel.mounts.prepare; `above` is a
    descriptor of another layer that lies between. Raises KernelLacksError."""
    prefix = "/proc/self/fd"
    options = {
        "lowerdir": f"{prefix}/{above}:{prefix}/{lower}" if above >= 0 else f"{prefix}/{lower}",
        "upperdir": f"{prefix}/{made.scratch}/upper",
        "workdir": f"{prefix}/{made.scratch}/work",
    }
    with _overlay(options, flags) as root:
        yield root


@contextlib.contextmanager
def changed(lower: int, made: Changes) -> Iterator[int]:
    """A mount of the tree with its changes, to look at. Raises KernelLacksError."""
    with _overlay({"lowerdir": f"/proc/self/fd/{made.layer}:/proc/self/fd/{lower}"}, mounts.MS_RDONLY) as root:
        yield root


@contextlib.contextmanager
def overlay_tree(lower: int, flags: int = 0, above: int = -1, most: str = "50%") -> Iterator[int]:
    """The same as `changeable`, with changes that nobody asks for afterwards. Raises KernelLacksError."""
    with changes(lower, most) as made, changeable(lower, made, flags, above) as root:
        yield root


@contextlib.contextmanager
def _overlay(options: dict[str, str], flags: int) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        try:
            root = stack.enter_context(new_mount("overlay", options, flags))
        except OSError as error:
            raise KernelLacksError(f"{error.strerror}", "the kernel must have overlayfs (modprobe overlay)") from None
        yield root
