"""Which processes still have a file mapped that was replaced: those must be started again."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tracejail.kernel.running import mapped_by, name_of


@dataclass(frozen=True, slots=True)
class Restart:
    """A process, its short name, and the paths (of the jail) of the old files that it has mapped."""

    process: int
    name: str
    paths: tuple[str, ...]


def to_restart(jail: str, replaced: dict[int, str]) -> list[Restart]:
    """Those of all processes that can be seen. `replaced` are paths by the inode numbers of what lay there before; the old
    files have a second name still, so no other file can have got their numbers."""
    found = []
    names = {os.path.basename(path) for path in replaced.values()}
    for word in os.listdir("/proc"):
        if not word.isdigit():
            continue
        paths = set()
        for mapped in mapped_by(int(word)):
            # Another file system may have the same number: the name tells.
            if mapped.inode in replaced and os.path.basename(mapped.path) in names:
                paths.add(replaced[mapped.inode])
            elif mapped.deleted and mapped.path.startswith(f"{jail}/") and mapped.path[len(jail) :] in replaced.values():
                paths.add(mapped.path[len(jail) :])
        if paths:
            found.append(Restart(int(word), name_of(int(word)), tuple(sorted(paths))))
    return sorted(found, key=lambda one: one.process)
