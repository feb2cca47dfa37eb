"""What a target writes to: the differences between the tree that it was given and the tree that it left.

Found in a proving run, in which nobody else changes anything.
"""

from __future__ import annotations

import os
import stat

from tracejail.kernel.paths import is_mounted
from tracejail.model import TYPES, JailPath, Use, Written

# Where what is written usually lies, as in the Filesystem Hierarchy Standard; the longest prefix tells.
_USES = {
    "/var/lib": Use.STATE, "/srv": Use.STATE, "/var/opt": Use.STATE, "/home": Use.STATE, "/root": Use.STATE,
    "/var/log": Use.LOG,
    "/run": Use.RUN, "/var/run": Use.RUN, "/var/lock": Use.RUN,
    "/tmp": Use.TEMPORARY, "/var/tmp": Use.TEMPORARY, "/dev/shm": Use.TEMPORARY,
    "/var/spool": Use.SPOOL, "/var/mail": Use.SPOOL,
    "/var/cache": Use.CACHE,
}


def use_of(path: str) -> Use:
    """What a written place is for, by where it lies."""
    while path:
        use = _USES.get(path)
        if use:
            return use
        path = path.rpartition("/")[0]
    return Use.OTHER


def state_of(root: int) -> dict[str, os.stat_result]:
    """What lies in a tree, by path; the tree by a descriptor of its root."""
    state: dict[str, os.stat_result] = {}
    pending = ["/"]
    while pending:
        directory = pending.pop()
        for name in ("", *_names(root, directory)):
            path = directory if not name else f"{directory.rstrip('/')}/{name}"
            status = _look(root, path)
            if status is not None:
                state[path] = status
                if name and stat.S_ISDIR(status.st_mode):
                    pending.append(path)
    return state


def written(before: dict[str, os.stat_result], root: int) -> tuple[Written, ...]:
    """The directories in which names came, went or moved, and the files whose bytes changed, from an earlier state of a tree
    to now. What was not there then is not named: its directory is."""
    found: list[Written] = []
    device = os.fstat(root).st_dev
    beyond: set[str] = set()   # directories that are none any more: what a link leads to is not looked at
    for path, old in sorted(before.items()):
        if path.rpartition("/")[0] in beyond:
            beyond.add(path)
            continue
        new = _look(root, path)
        other = new is None or stat.S_IFMT(old.st_mode) != stat.S_IFMT(new.st_mode)
        if new is None or other or (new.st_dev != device and is_mounted(root, path)):
            beyond.add(path)
        elif _changed(old, new):
            kind = TYPES[stat.S_IFMT(new.st_mode)]
            mode = stat.S_IMODE(new.st_mode)
            found.append(Written(JailPath(path), kind, mode, new.st_uid, new.st_gid, use_of(path)))
    return tuple(found)


def _changed(old: os.stat_result, new: os.stat_result) -> bool:
    if stat.S_ISDIR(old.st_mode):
        return old.st_mtime_ns != new.st_mtime_ns  # its size says nothing
    return stat.S_ISREG(old.st_mode) and (old.st_mtime_ns, old.st_size) != (new.st_mtime_ns, new.st_size)


def _look(root: int, path: str) -> os.stat_result | None:
    try:
        return os.stat(path.lstrip("/") or ".", dir_fd=root, follow_symlinks=False)
    except OSError:
        return None


def _names(root: int, path: str) -> list[str]:
    try:
        fd = os.open(path.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    except OSError:
        return []
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)
