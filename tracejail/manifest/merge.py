"""Two manifests as one: the union by path, the first origin stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tracejail.errors import ManifestError
from tracejail.model import Accounts, Content, Entry, EntryType, JailPath, Manifest, PathNote, Written


def merge(first: Manifest, second: Manifest) -> Manifest:
    """What both need; command, host and jail are those of `first`. Clean only where both are.

    Raises ManifestError where the two say different things of one path.
    """
    entries = {entry.path: entry for entry in first.entries}
    for entry in second.entries:
        known = entries.setdefault(entry.path, entry)
        if not _agree(known, entry):
            raise ManifestError(
                f"{entry.path}: the two manifests say different things of it",
                "learn the older one again: the host has changed since",
            )
    warnings = set(first.warnings) | set(second.warnings)
    if (first.host.root, first.host.distribution) != (second.host.root, second.host.distribution):
        warnings.add(f"merged from two hosts: {first.host.distribution} and {second.host.distribution}")
    return replace(
        first,
        clean=first.clean and second.clean,
        accounts=_accounts(first.accounts, second.accounts),
        entries=tuple(_merged(entries[path], entries) for path in sorted(entries)),
        mounts=tuple(sorted({*first.mounts, *second.mounts}, key=lambda mount: mount.path)),
        sockets=_notes(first.sockets, second.sockets),
        listens=tuple(sorted({*first.listens, *second.listens})),
        written=_written(first.written, second.written),
        absent=_notes(first.absent, second.absent),
        denied=_notes(first.denied, second.denied),
        warnings=tuple(sorted(warnings)),
    )


def _merged(entry: Entry, entries: Mapping[JailPath, Entry]) -> Entry:
    if entry.hard_link:
        entry = replace(entry, hard_link=_first_name(entry, entries))
    # What is made for a jail is made anew for the merged one: its digest is not known before it is built.
    made = entry.content in (Content.ACCOUNTS, Content.LD_CACHE, Content.NSSWITCH)
    return replace(entry, sha256="", size=0) if made else entry


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
