"""Who brought what: the entries of a manifest as a graph, and that of their packages."""

from __future__ import annotations

from collections.abc import Mapping

from tracejail.model import Entry, EntryType, Manifest

_MOST_HOPS = 40           # as MAXSYMLINKS of the kernel
Package = tuple[str, str]  # name, version; ("", "") for none


def by_path(manifest: Manifest) -> dict[str, Entry]:
    """The entries by their paths."""
    return {entry.path: entry for entry in manifest.entries}


def bringer(entry: Entry, entries: Mapping[str, Entry]) -> str:
    """The path of the entry that brought this one, or of the program that asked for it; "" where neither is in the jail.

    A directory on the way, or a link to one, brings nothing itself: what brought that had its own reasons.
    """
    seen: set[str] = set()
    at: Entry | None = entry
    while at is not None and at.path not in seen:
        seen.add(at.path)
        for path in (at.via, at.because.program if at.because else ""):
            if path in entries and path not in seen and not is_place(entries[path], entries):
                return path
        at = entries.get(at.via)
    return ""


def package_of(entry: Entry) -> Package:
    """The package of an entry with its version."""
    return entry.package, entry.version if entry.package else ""


def is_place(entry: Entry, entries: Mapping[str, Entry]) -> bool:
    """Whether it is a directory or a link to one: in many packages, and no one's."""
    if entry.type is EntryType.SYMLINK:
        return entries[end_of(entry.path, entries)].type is EntryType.DIRECTORY
    return entry.type is EntryType.DIRECTORY


def packages(manifest: Manifest) -> dict[Package, list[Entry]]:
    """The packages in order, each with its entries that are no directories; ("", "") has those of none."""
    entries = by_path(manifest)
    found: dict[Package, list[Entry]] = {}
    for entry in manifest.entries:
        if not is_place(entry, entries):
            found.setdefault(package_of(entry), []).append(entry)
    return dict(sorted(found.items()))


def package_edges(manifest: Manifest) -> dict[tuple[Package, Package], int]:
    """Which package brought which, with the number of paths."""
    entries = by_path(manifest)
    found: dict[tuple[Package, Package], int] = {}
    for entry in manifest.entries:
        above = bringer(entry, entries)
        if not above or is_place(entry, entries):
            continue
        edge = package_of(entries[above]), package_of(entry)
        if edge[0] != edge[1]:
            found[edge] = found.get(edge, 0) + 1
    return dict(sorted(found.items()))


def end_of(path: str, entries: Mapping[str, Entry]) -> str:
    """Where a path leads in the jail through its links; the path itself where that is nowhere in it."""
    left = path.split("/")[:0:-1]
    at, hops = "", 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            at = at.rpartition("/")[0]
            continue
        entry = entries.get(f"{at}/{name}")
        if entry is None:
            return path
        if entry.type is not EntryType.SYMLINK:
            at = entry.path
            continue
        hops += 1
        if hops > _MOST_HOPS:
            return path
        if entry.target.startswith("/"):
            at = ""
        left += entry.target.split("/")[::-1]
    return at or path


def things(manifest: Manifest) -> dict[str, list[Entry]]:
    """The entries by the one thing that they are names of: links with what they lead to, and the names of one file."""
    entries = by_path(manifest)
    found: dict[str, list[Entry]] = {}
    for entry in manifest.entries:
        end = entries[end_of(entry.path, entries)] if entry.type is EntryType.SYMLINK else entry
        found.setdefault(end.hard_link or end.path, []).append(entry)
    return found
