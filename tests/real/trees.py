"""Two trees compared by what lstat(2), readlink(2), listxattr(2) and reading say; none of the tool's code is in it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path


def facts(top: Path, links: bool, untimed: frozenset[bytes]) -> dict[bytes, tuple[object, ...]]:
    """What each name beneath a directory is. `links`: which names are of one file. `untimed`: whose time does
    not count."""
    first: dict[tuple[int, int], bytes] = {}
    found: dict[bytes, tuple[object, ...]] = {}
    start = os.fsencode(top)
    for directory, directories, files in os.walk(start):
        for name in sorted([*directories, *files]):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            row: list[object] = [oct(kind), oct(stat.S_IMODE(status.st_mode)), status.st_uid, status.st_gid]
            row.append({key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)})
            if kind == stat.S_IFLNK:
                row[1] = "of a link"
                row.append(os.readlink(path))
            if kind == stat.S_IFREG:
                row.append(hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest())
                row.append(0 if path[len(start) :] in untimed else status.st_mtime_ns // 10**9)
                if links:
                    row.append(first.setdefault((status.st_dev, status.st_ino), path[len(start) :]))
            if kind in (stat.S_IFCHR, stat.S_IFBLK):
                row.append(status.st_rdev)
            found[path[len(start) :]] = tuple(row)
    return found


def differences(one: Path, other: Path, links: bool = True, untimed: frozenset[bytes] = frozenset()) -> list[str]:
    """A line for each name that is not the same in both."""
    first, second = facts(one, links, untimed), facts(other, links, untimed)
    return [
        f"{name!r}: {first.get(name)} {second.get(name)}"
        for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)
    ]
