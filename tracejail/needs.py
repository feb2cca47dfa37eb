"""What patched files need that a jail does not have: by what they say themselves, as the host's loader would find it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import NamedTuple

from tracejail.deps import closure_of
from tracejail.model import Entry, EntryType, JailPath, Origin
from tracejail.resolve.closure import Dependency
from tracejail.resolve.host import HostRoot, inspect
from tracejail.trial.walk import Found, Place, walk


class Needs(NamedTuple):
    """`new` is on the host and not in the jail, `lost` is on neither; `rows` are the whole closure."""

    new: tuple[Dependency, ...] = ()
    lost: tuple[Dependency, ...] = ()
    rows: tuple[Dependency, ...] = ()


def is_executed(entry: Entry) -> bool:
    """Whether a process was started from this file."""
    if entry.type is not EntryType.FILE:
        return False
    return entry.origin is Origin.ARGV or (entry.because is not None and entry.because.syscall.startswith("exec"))


def needs(host: HostRoot, entries: Mapping[str, Entry], changed: Collection[str], gone: Collection[str] = ()) -> Needs:
    """What the `changed` files (and links) of the host need beside the entries. Programs are looked at from their start, as
    the search path of a program counts for its libraries. Where anything is `gone` from the host each library is looked at
    too: one of them, loaded at run time, may need it. Raises InputOutputError."""
    new = [row for path in changed if entries[path].type is EntryType.SYMLINK for row in _led_to(host, path, entries)]
    led = {row.path for row in new if row.how == "link"}
    files = [path for path in changed if entries[path].type is EntryType.FILE]
    if not files and not led and not gone:
        return Needs()
    programs = [path for path, entry in entries.items() if is_executed(entry)]
    # What was needed by a file that no program needs, as by a module, is needed still.
    needing = {entry.via for entry in entries.values() if entry.origin is Origin.ELF_NEEDED}
    loaded = [
        path for path, entry in entries.items()
        if entry.type is EntryType.FILE and (path in needing or (gone and ".so" in os.path.basename(path)))
    ]
    rows = closure_of(host, list(dict.fromkeys([*programs, *files, *led, *loaded])))
    names = {os.path.basename(path) for path, entry in entries.items() if entry.type is not EntryType.DIRECTORY}
    growing = {*files, *led}
    lost = []
    for row in rows:
        if row.needed_by not in growing:
            continue
        by_name = row.how == "elf-needed" or (row.how == "symlink" and ".so" in os.path.basename(row.path))
        if row.path in entries or (by_name and os.path.basename(row.path) in names):
            continue
        if row.found:
            new.append(row)
            growing.add(row.path)
        else:
            lost.append(row)
    once = {row.path: row for row in reversed(new)}
    return Needs(tuple(once[path] for path in dict.fromkeys(row.path for row in new)), tuple(lost), tuple(rows))


def _led_to(host: HostRoot, path: str, entries: Mapping[str, Entry]) -> list[Dependency]:
    """What a link leads to now and the jail has not."""

    def look(at: str) -> Found | None:
        node = inspect(host, JailPath(at))
        return Found(node.type, node.target) if node else None

    found = walk("/", "/", path, True, False, lambda _: None, look)
    if found.place is not Place.FOUND:
        return []
    hops = [hop for hop in found.hops if hop.path not in entries and hop.type is not EntryType.DIRECTORY]
    return [Dependency(hop.path, path, "link" if hop.last else "symlink") for hop in hops]
