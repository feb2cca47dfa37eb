"""A proc file system for a jail: parts of it change the kernel for all, and root needs no capability to write there."""

from __future__ import annotations

import contextlib

from tracejail.kernel import mounts

FLAGS = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")


def shut() -> None:
    """Make them read-only in /proc of the caller's root directory. Raises nothing: not all kernels have them all."""
    for part in _READ_ONLY:
        with contextlib.suppress(OSError):
            mounts.mount(part, part, "", mounts.MS_BIND)
            mounts.mount("", part, "", mounts.MS_BIND | mounts.MS_REMOUNT | mounts.MS_RDONLY | FLAGS)
