"""Manifests of one machine's runs as one: the union by path, the first origin stays."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tracejail.errors import ManifestError
from tracejail.model import Accounts, Content, Entry, EntryType, JailPath, Manifest, Mount, PathNote, Written

from .facts import facts_of_place, unmade

_attributes = operator.attrgetter("mode", "uid", "gid", "xattrs", "package", "version")


def merge_runs(first: Manifest, second: Manifest) -> Manifest:
    """What two runs of one machine need; command, host and jail are those of `first`. Clean only where both are.

    Raises ManifestError where the two say different things of one path.
    """
    if first.merged or second.merged:
        raise ManifestError("a manifest of several hosts is not of one machine", "merge the manifests that it was merged from")
    entries = {entry.path: entry for entry in first.entries}
    for entry in second.entries:
        known = entries.setdefault(entry.path, entry)
        if not _agree(known, entry):
            raise ManifestError(
                f"{entry.path}: the two manifests say different things of it",
                "learn the older one again: the host has changed since",
            )
        entries[entry.path] = _fuller(known, entry)
    warnings = set(first.warnings) | set(second.warnings)
    if (first.host.root, first.host.distribution) != (second.host.root, second.host.distribution):
        warnings.add(f"merged from two hosts: {first.host.distribution} and {second.host.distribution}")
    return replace(
        union((first, second)),
        entries=tuple(_merged(entries[path], entries) for path in sorted(entries)),
        sockets=_notes(first.sockets, second.sockets),
        written=_written(first.written, second.written),
        absent=_notes(first.absent, second.absent),
        denied=_notes(first.denied, second.denied),
        warnings=tuple(sorted(warnings)),
    )


def of_one_machine(manifests: Sequence[Manifest]) -> bool:
    """Whether nothing that they say of their host differs: it is the same one, or one that does as well."""
    first = manifests[0]
    known: dict[str, Entry] = {}
    places: dict[str, Written] = {}
    for manifest in manifests:
        if manifest.merged or manifest.host != first.host:
            return False
        for entry in manifest.entries:
            other = known.setdefault(entry.path, entry)
            if other is not entry and not _alike(other, entry):
                return False
            known[entry.path] = _fuller(other, entry)
        for place in manifest.written:
            if facts_of_place(places.setdefault(place.path, place)) != facts_of_place(place):
                return False
    return not any(
        note.path in known for manifest in manifests for note in _not_its_own(manifest)
    )


def _not_its_own(manifest: Manifest) -> list[PathNote]:
    """What was absent; not what came and went."""
    if not manifest.absent:
        return []
    own = {entry.path for entry in manifest.entries}
    return [note for note in manifest.absent if note.path not in own]


def union(manifests: Sequence[Manifest]) -> Manifest:
    """The first manifest with what is no fact of a host, but what the program needs, of all of them."""
    mounts: set[Mount] = set()
    mounts.update(*(each.mounts for each in manifests))
    return replace(
        manifests[0],
        clean=all(each.clean for each in manifests),
        accounts=functools.reduce(_accounts, (each.accounts for each in manifests)),
        mounts=tuple(sorted(mounts, key=lambda mount: mount.path)),
        listens=tuple(sorted({address for each in manifests for address in each.listens})),
        capabilities=tuple(sorted({name for each in manifests for name in each.capabilities})),
        # Of a run that noted none it is not known which it made.
        syscalls=_calls(manifests),
    )


def _merged(entry: Entry, entries: Mapping[JailPath, Entry]) -> Entry:
    if entry.hard_link:
        entry = replace(entry, hard_link=_first_name(entry, entries))
    return unmade(entry)


def _first_name(entry: Entry, entries: Mapping[JailPath, Entry]) -> str:
    # The first name of an inode in one manifest may be a later name of it in the other: links lead to the very first.
    seen: set[str] = {entry.path}
    link = entry.hard_link
    while link and (first := entries.get(JailPath(link))) is not None and first.hard_link and link not in seen:
        seen.add(link)
        link = first.hard_link
    return "" if link == entry.path else link


def _agree(known: Entry, entry: Entry) -> bool:
    if known.type is not entry.type or known.target != entry.target or known.device != entry.device:
        return False
    if known.type is not EntryType.FILE or known.content is not Content.HOST or entry.content is not Content.HOST:
        return True
    return known.sha256 == entry.sha256


def _alike(known: Entry, entry: Entry) -> bool:
    # Which name of an inode is the first depends on what else was asked for; a mere name has fewer facts.
    only_named = Content.EMPTY in (known.content, entry.content)
    return _agree(known, entry) and (only_named or _attributes(known) == _attributes(entry))


def _fuller(known: Entry, entry: Entry) -> Entry:
    """What one run only saw in a listing, another one has read."""
    return entry if known.content is Content.EMPTY and entry.content is not Content.EMPTY else known


def _accounts(first: Accounts, second: Accounts) -> Accounts:
    return Accounts(
        first.everything or second.everything,
        tuple(sorted({*first.users, *second.users})),
        tuple(sorted({*first.groups, *second.groups})),
        tuple(sorted({*first.passwords, *second.passwords})),
    )


def _written(first: tuple[Written, ...], second: tuple[Written, ...]) -> tuple[Written, ...]:
    places = {place.path: place for place in (*second, *first)}
    return tuple(places[path] for path in sorted(places))


def _notes(first: tuple[PathNote, ...], second: tuple[PathNote, ...]) -> tuple[PathNote, ...]:
    notes = {note.path: note for note in (*second, *first)}
    return tuple(notes[path] for path in sorted(notes))


def _calls(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    known = all(each.syscalls for each in manifests)
    return tuple(sorted({call for each in manifests for call in each.syscalls})) if known else ()
