"""What differs between two manifests."""

from __future__ import annotations

import operator
from typing import NamedTuple

from tracejail.model import Entry, Manifest

from .dump import plain
from .facts import COMPARED
from .hosts import part_of

_values = operator.attrgetter(*COMPARED)


class Difference(NamedTuple):
    """A path that is in one manifest only, or not the same in both: added, removed, changed."""

    path: str
    change: str
    detail: str


def diff(first: Manifest, second: Manifest) -> list[Difference]:
    """From `first` to `second`, by path; mounts too. Of two that were merged each host's part is compared with the same
    host's; of a selected one, what other hosts alone have is said to be theirs."""
    found = _by_host(first, second) if first.merged and second.merged else _entries(first, second)
    for mount in sorted({*first.mounts, *second.mounts}, key=lambda mount: mount.path):
        if (mount in first.mounts) != (mount in second.mounts):
            change = "removed" if mount in first.mounts else "added"
            found.append(Difference(mount.path, change, f"mount of {mount.type}"))
    return found


def _by_host(first: Manifest, second: Manifest) -> list[Difference]:
    old, new = ({row.label: row.host.distribution for row in manifest.merged} for manifest in (first, second))
    found = [Difference(label, "removed", f"host, {old[label]}") for label in old if label not in new]
    found += [Difference(label, "added", f"host, {new[label]}") for label in new if label not in old]
    both = [label for label in old if label in new]
    rows: dict[Difference, list[str]] = {}
    for label in both:
        for row in _entries(part_of(first, label), part_of(second, label)):
            rows.setdefault(row, []).append(label)
    for row in sorted(rows, key=lambda row: row.path):
        of_all = len(rows[row]) == len(both)
        found.append(row if of_all else row._replace(detail=f"{row.detail}, on {', '.join(rows[row])}"))
    return found


def _entries(first: Manifest, second: Manifest) -> list[Difference]:
    old, new = ({entry.path: entry for entry in manifest.entries} for manifest in (first, second))
    found = []
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before is None and after is not None:
            found.append(Difference(path, "added", after.type.value + _whose(after)))
        elif after is None and before is not None:
            found.append(Difference(path, "removed", before.type.value + _whose(before)))
        elif before is not None and after is not None and (detail := _detail(before, after)):
            found.append(Difference(path, "changed", detail))
    return found


def _whose(entry: Entry) -> str:
    return f", of {', '.join(entry.hosts)} alone" if entry.hosts else ""


def _detail(before: Entry, after: Entry) -> str:
    if before.hosts != after.hosts:
        return f"was{_whose(before)[1:] or ' of this host'}, now{_whose(after)[1:] or ' of this host'}"
    if _values(before) == _values(after):
        return ""
    words = []
    for name, old, new in zip(COMPARED, _values(before), _values(after), strict=True):
        if old != new:
            if name == "mode":
                words.append(f"mode {old:04o} -> {new:04o}")
            elif name == "sha256":
                words.append("other content")
            else:
                words.append(f"{name} {plain(old)} -> {plain(new)}")
    return ", ".join(words)
