"""A mount namespace of its own around a jail: with what it needs mounted, and, where it is shut, all of it read-only but the
places that its program writes to, and those not to be executed from. The rest of the machine's files is not hidden, but gone from
there (pivot_root(2))."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from tracejail.kernel import mounts, namespaces
from tracejail.kernel.paths import IN_ROOT, NO_MAGICLINKS, NO_SYMLINKS, openat2

from . import proc

_SHUT = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV
_WRITTEN = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


@dataclass(frozen=True, slots=True)
class Isolation:
    """What is kept apart: always mounts; where it is shut also names (uts_namespaces(7)) and the memory that is shared."""

    shut: bool = True
    network: bool = False
    processes: bool = False                    # it sees none but its own, and all end with the first
    written: tuple[str, ...] = ()              # places of the jail
    devices: tuple[tuple[str, str], ...] = ()  # (device file outside, path in the jail)
    mounts: tuple[tuple[str, str], ...] = ()   # (type, path): proc, sysfs, devpts
    sockets: tuple[tuple[str, str], ...] = ()  # (socket outside, path in the jail)


def words(isolation: Isolation) -> Iterator[str]:
    """What is done, a line each."""
    own = ["mount", *(["ipc", "uts"] if isolation.shut else [])]
    own += [name for name, wanted in (("network", isolation.network), ("pid", isolation.processes)) if wanted]
    yield f"namespaces of its own: {', '.join(own)}"
    if isolation.shut:
        yield "no signal to a process outside, no ptrace of it, no abstract socket of it (landlock(7), Linux 6.12)"
        yield "the jail read-only, nosuid, nodev"
    for _, path in isolation.devices:
        yield f"bind the device {path}, its owner and mode read-only"
    for path in isolation.written:
        yield f"{path} writable, nosuid, nodev, noexec"
    for file_system, path in isolation.mounts:
        yield f"mount {file_system} on {path}"
    for source, path in isolation.sockets:
        yield f"bind the socket {source} on {path}"


def isolate(isolation: Isolation, jail: str) -> None:
    """Leave the machine's files; the root directory is the jail then. Raises OSError naming the step."""
    namespaces.unshare(
        namespaces.NEWNS
        | (namespaces.NEWIPC | namespaces.NEWUTS if isolation.shut else 0)
        | (namespaces.NEWNET if isolation.network else 0)
    )
    if isolation.network:
        namespaces.raise_loopback()
    mounts.make_private()
    tree = mounts.clone(jail, recursive=True)
    made = [(_new(file_system, isolation.processes), path) for file_system, path in isolation.mounts]
    # A place that the program writes to may be a link to anywhere by now: it is looked up in the jail.
    written = [(_clone_in(jail, path), path) for path in isolation.written]
    bound = [(mounts.clone(source), path) for source, path in (*isolation.devices, *isolation.sockets)]
    if isolation.shut:
        mounts.restrict(tree, _SHUT, recursive=True)
    for mount, _ in written:
        mounts.restrict(mount, _WRITTEN, recursive=True)
    for mount, _ in bound:
        mounts.restrict(mount, mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NOEXEC)
    mounts.attach(tree, "/proc")   # any directory will do: it moves from here to the root at once
    mounts.enter_root(tree)
    for mount, path in (*made, *written, *bound):
        with _opened("/", path) as place:
            mounts.attach_to(mount, place, path)
        os.close(mount)
    os.close(tree)
    if any(path == "/proc" for _, path in isolation.mounts):
        proc.shut()


@contextlib.contextmanager
def _opened(root: str, path: str) -> Iterator[int]:
    """A place of a tree: a daemon may have made a link of it by now, and a link of proc's leads out of any tree."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = openat2(directory, path, os.O_PATH | os.O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS | NO_SYMLINKS)
    except OSError as error:
        what = "leads over a link: name where it leads" if error.errno == errno.ELOOP else os.strerror(error.errno or 0)
        raise OSError(error.errno, f"{path} of the jail: {what}") from None
    finally:
        os.close(directory)
    try:
        yield place
    finally:
        os.close(place)


def _clone_in(jail: str, path: str) -> int:
    with _opened(jail, path) as place:
        return mounts.clone_of(place, path)


def _new(file_system: str, own_processes: bool) -> int:
    if file_system == "devpts":
        return mounts.prepare("devpts", {"ptmxmode": "0666", "mode": "0620"}, mounts.MS_NOSUID | mounts.MS_NOEXEC)
    # proc(5): whose process it is not, it is not to see.
    options = {"hidepid": "2"} if file_system == "proc" and not own_processes else {}
    return mounts.prepare(file_system, options, proc.FLAGS | (mounts.MS_RDONLY if file_system == "sysfs" else 0))
