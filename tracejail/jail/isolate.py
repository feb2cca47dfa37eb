"""A mount namespace of its own around a jail: all of it read-only but the places that its program writes to, and those not to be
executed from. The rest of the machine's files is not hidden, but gone from there (pivot_root(2))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from tracejail.kernel import mounts, namespaces

_SHUT = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV
_WRITTEN = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_OWN = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


@dataclass(frozen=True, slots=True)
class Isolation:
    """What is kept apart: always mounts, and the names and the memory that processes share (uts_namespaces(7), ipc)."""

    network: bool = False
    written: tuple[str, ...] = ()              # places of the jail
    devices: tuple[tuple[str, str], ...] = ()  # (device file outside, path in the jail)
    mounts: tuple[tuple[str, str], ...] = ()   # (type, path): proc, sysfs, devpts


def words(isolation: Isolation) -> Iterator[str]:
    """What is done, a line each."""
    yield f"namespaces of its own: mount, ipc, uts{', network' if isolation.network else ''}"
    yield "the jail read-only, nosuid, nodev"
    for _, path in isolation.devices:
        yield f"bind the device {path}, its owner and mode read-only"
    for path in isolation.written:
        yield f"{path} writable, nosuid, nodev, noexec"
    for file_system, path in isolation.mounts:
        yield f"mount {file_system} on {path}"


def isolate(isolation: Isolation, jail: str) -> None:
    """Leave the machine's files; the root directory is the jail then. Raises OSError naming the step."""
    namespaces.unshare(
        namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS | (namespaces.NEWNET if isolation.network else 0)
    )
    if isolation.network:
        namespaces.raise_loopback()
    mounts.make_private()
    root = mounts.clone(jail, recursive=True)
    made = [(_new(file_system), path) for file_system, path in isolation.mounts]
    written = [(mounts.clone(jail + path), path) for path in isolation.written]
    devices = [(mounts.clone(device), path) for device, path in isolation.devices]
    mounts.restrict(root, _SHUT, recursive=True)
    for mount, _ in written:
        mounts.restrict(mount, _WRITTEN)
    for mount, _ in devices:
        mounts.restrict(mount, mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NOEXEC)
    mounts.attach(root, "/proc")   # any directory will do: it moves from here to the root at once
    mounts.enter_root(root)
    for mount, path in (*made, *devices, *written):
        mounts.attach(mount, path)
        os.close(mount)
    os.close(root)


def _new(file_system: str) -> int:
    if file_system == "devpts":
        return mounts.prepare("devpts", {"ptmxmode": "0666", "mode": "0620"}, mounts.MS_NOSUID | mounts.MS_NOEXEC)
    return mounts.prepare(file_system, {}, _OWN | (mounts.MS_RDONLY if file_system == "sysfs" else 0))
