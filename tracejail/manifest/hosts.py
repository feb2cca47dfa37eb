"""Manifests of several machines as one: what is alike on all of them is there once, what differs once for each group of
hosts on which it is the same. And the way back: what one of them has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from tracejail.errors import UsageError
from tracejail.model import Entry, Manifest, MergedHost, PathNote, Written

from .facts import facts, facts_of_note, facts_of_place, unmade
from .merge import merge_runs, of_one_machine, union

_Row = TypeVar("_Row", Entry, Written, PathNote)
_Given = Sequence[tuple[str, Manifest]]  # label and manifest


def merge(given: _Given, apart: bool = False) -> Manifest:
    """What all of them need. Where nothing says that they are of several machines, and not `apart`, that is a manifest like
    any other; else facts are kept apart by label. One that was merged brings its labels along.

    Raises UsageError where two hosts have one label.
    """
    manifests = [manifest for _, manifest in given]
    if not apart and of_one_machine(manifests):
        return functools.reduce(merge_runs, manifests)
    return _merge_hosts(given)


def _merge_hosts(given: _Given) -> Manifest:
    parts: dict[str, Manifest] = {}
    for name, manifest in given:
        for label, part in _parts(name, manifest):
            known = parts.setdefault(label, part)
            if known is not part and not _same(known, part):
                raise UsageError(
                    f"{label}: two of the manifests have this label, and they differ",
                    "give the files other names; of one machine merge the newest, or all runs first (--same-host)",
                )
    hosts = tuple(MergedHost(label, part.host, part.command, part.jail, part.clean) for label, part in parts.items())
    warnings = {warning for _, manifest in given for warning in manifest.warnings}
    warnings -= {_warning(manifest.merged) for _, manifest in given}
    return replace(
        union([manifest for _, manifest in given]),
        entries=_apart(parts, lambda part: part.entries, facts, _with_common_time),
        written=_apart(parts, lambda part: part.written, facts_of_place),
        sockets=_apart(parts, lambda part: part.sockets, facts_of_note),
        absent=_apart(parts, lambda part: part.absent, facts_of_note),
        denied=_apart(parts, lambda part: part.denied, facts_of_note),
        warnings=tuple(sorted({*warnings, _warning(hosts)})),
        merged=hosts,
    )


def _warning(hosts: Sequence[MergedHost]) -> str:
    named = ", ".join(f"{row.label} ({row.host.distribution})" for row in hosts)
    return f"merged from {len(hosts)} hosts: {named}"


def _parts(name: str, manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    for label in [row.label for row in manifest.merged] or [name]:
        part = part_of(manifest, label)
        yield label, replace(part, entries=tuple(unmade(entry) for entry in part.entries))


def part_of(manifest: Manifest, label: str) -> Manifest:
    """What one host's own manifest was, but for needs that are no facts of a host: accounts, mounts, what it listens on."""
    for row in manifest.merged:
        if row.label == label:
            return replace(
                manifest,
                host=row.host,
                command=row.command,
                jail=row.jail,
                clean=row.clean,
                entries=_own(manifest.entries, label),
                written=_own(manifest.written, label),
                sockets=_own(manifest.sockets, label),
                absent=_own(manifest.absent, label),
                denied=_own(manifest.denied, label),
                merged=(),
            )
    return manifest


def _own(rows: tuple[_Row, ...], label: str) -> tuple[_Row, ...]:
    return tuple(replace(row, hosts=()) if row.hosts else row for row in rows if not row.hosts or label in row.hosts)


def _same(known: Manifest, part: Manifest) -> bool:
    def shown(one: Manifest) -> object:
        notes = [{(note.path, note.reason) for note in table} for table in (one.sockets, one.absent, one.denied)]
        places = {(place.path, facts_of_place(place)) for place in one.written}
        entries = {(entry.path, facts(entry)) for entry in one.entries}
        return one.host, one.command, one.jail, one.clean, entries, places, notes

    return shown(known) == shown(part)


def _first(known: _Row, _: _Row) -> _Row:
    return known


def _with_common_time(known: Entry, entry: Entry) -> Entry:
    # Each host has its own: who builds asks it.
    return replace(known, mtime_ns=0) if known.mtime_ns != entry.mtime_ns else known


def _apart(
    parts: Mapping[str, Manifest], rows: Callable[[Manifest], Iterable[_Row]], facts_of: Callable[[_Row], object],
    join: Callable[[_Row, _Row], _Row] = _first,
) -> tuple[_Row, ...]:
    """A row for each path and each group of hosts that say the same of it, groups in the order of their first hosts."""
    paths: dict[str, dict[object, tuple[_Row, list[str]]]] = {}
    for label, part in parts.items():
        for row in rows(part):
            groups, said = paths.setdefault(row.path, {}), facts_of(row)
            known, labels = groups.get(said) or (row, [])
            labels.append(label)
            groups[said] = join(known, row), labels
    return tuple(
        row if len(labels) == len(parts) else replace(row, hosts=tuple(labels))
        for path in sorted(paths) for row, labels in paths[path].values()
    )
