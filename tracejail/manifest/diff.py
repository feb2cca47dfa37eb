"""What differs between two manifests."""

from __future__ import annotations

import operator
from typing import NamedTuple

from tracejail.model import Entry, Manifest

from .dump import plain

_COMPARED = ("type", "mode", "uid", "gid", "size", "sha256", "content", "target", "device", "xattrs", "hard_link", "version")
_values = operator.attrgetter(*_COMPARED)


class Difference(NamedTuple):
    """A path that is in one manifest only, or not the same in both: added, removed, changed."""

    path: str
    change: str
    detail: str


def diff(first: Manifest, second: Manifest) -> list[Difference]:
    """From `first` to `second`, by path; mounts too."""
    old, new = ({entry.path: entry for entry in manifest.entries} for manifest in (first, second))
    found = []
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before is None and after is not None:
            found.append(Difference(path, "added", after.type.value))
        elif after is None and before is not None:
            found.append(Difference(path, "removed", before.type.value))
        elif before is not None and after is not None and (detail := _detail(before, after)):
            found.append(Difference(path, "changed", detail))
    for mount in sorted({*first.mounts, *second.mounts}, key=lambda mount: mount.path):
        if (mount in first.mounts) != (mount in second.mounts):
            change = "removed" if mount in first.mounts else "added"
            found.append(Difference(mount.path, change, f"mount of {mount.type}"))
    return found


def _detail(before: Entry, after: Entry) -> str:
    if _values(before) == _values(after):
        return ""
    words = []
    for name, old, new in zip(_COMPARED, _values(before), _values(after), strict=True):
        if old != new:
            if name == "mode":
                words.append(f"mode {old:04o} -> {new:04o}")
            elif name == "sha256":
                words.append("other content")
            else:
                words.append(f"{name} {plain(old)} -> {plain(new)}")
    return ", ".join(words)
