"""Of a manifest of several machines the part for one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from tracejail.errors import UsageError
from tracejail.model import Entry, EntryType, JailPath, Manifest, Origin, PathNote, Written

from .hosts import part_of

_LINKS = 40  # path_resolution(7)
_Row = TypeVar("_Row", Written, PathNote)


def select(manifest: Manifest, label: str = "") -> Manifest:
    """The manifest for one of the hosts, the first without a label: what it has itself and, as another one's run may only
    have asked for more, the paths that others alone have. Those keep their `hosts`; whether they are on this host, and
    what they are there, must be asked of it. Where a link of this host leads to another file than theirs, as that of a
    library to another version, theirs is no more that was asked for. A manifest that was not merged stays what it is.

    Raises UsageError for a label that is not there.
    """
    labels = [row.label for row in manifest.merged]
    if label and not labels:
        raise UsageError(f"it is of one host, which has no label such as {label}", "leave out --host")
    if label and label not in labels:
        raise UsageError(f"no host {label} in it", f"it was merged from {', '.join(labels)}")
    if not labels:
        return manifest
    label = label or labels[0]
    part = part_of(manifest, label)
    tree = {entry.path: entry for entry in part.entries}
    own = frozenset(tree)
    _add_foreign(tree, manifest, label)
    return replace(
        part,
        entries=tuple(tree[path] for path in sorted(tree)),
        written=_with_foreign(part.written, manifest.written, own),
        sockets=_with_foreign(part.sockets, manifest.sockets, own),
        denied=_with_foreign(part.denied, manifest.denied, own),
    )


def _add_foreign(tree: dict[JailPath, Entry], manifest: Manifest, label: str) -> None:
    """Put into the tree of a host what others alone have. Where only one of them has a merged /usr, or the like, it goes
    where the path leads here."""
    own = dict(tree)
    theirs = _Links(manifest)
    foreign = [
        theirs.as_asked(entry, own) for entry in manifest.entries
        if entry.hosts and label not in entry.hosts and not theirs.answered(entry, own)
    ]
    foreign.sort(key=lambda entry: entry.path.split("/"))  # parents first
    led_elsewhere = []
    for entry in foreign:
        above = tree.get(JailPath(entry.path.rpartition("/")[0]))
        if entry.path in tree:
            continue
        if entry.path.count("/") == 1 or (above is not None and above.type is EntryType.DIRECTORY):
            tree[entry.path] = _unlinked(entry, entry.path)
        else:
            led_elsewhere.append(entry)
    for entry in led_elsewhere:
        path = _led_to(entry.path, tree)
        if path and path not in tree:
            _add_parents(tree, entry, path)
            tree[path] = _unlinked(entry, path)


class _Links:
    """The links of a merged manifest that are not alike on all hosts."""

    def __init__(self, manifest: Manifest) -> None:
        self._by_path: dict[str, list[Entry]] = {}
        for entry in manifest.entries:
            if entry.type is EntryType.SYMLINK and entry.hosts:
                self._by_path.setdefault(entry.path, []).append(entry)

    def answered(self, entry: Entry, own: Mapping[JailPath, Entry]) -> bool:
        """Whether a host has its own answer to the name by which others came to a file."""
        for _ in range(_LINKS):
            link = self._that_led_to(entry)
            if link is None:
                return False
            known = own.get(link.path)
            if known is not None:
                return known.target != link.target
            entry = link
        return False

    def as_asked(self, entry: Entry, own: Mapping[JailPath, Entry]) -> Entry:
        """The entry by its name before a link that a host has as a directory."""
        for link, leads in self._on_the_way(entry):
            known = own.get(link.path)
            if known is not None and known.type is EntryType.DIRECTORY and entry.path.startswith(leads + "/"):
                return replace(entry, path=JailPath(link.path + entry.path.removeprefix(leads)))
        return entry

    def _that_led_to(self, entry: Entry) -> Entry | None:
        if entry.type is EntryType.DIRECTORY:
            return None  # more than this one name may be in it
        return next((link for link, leads in self._on_the_way(entry) if leads == entry.path), None)

    def _on_the_way(self, entry: Entry) -> Iterator[tuple[Entry, str]]:
        """The link by which its hosts came to an entry, and where it leads."""
        for link in self._by_path.get(entry.via, ()):
            if not set(entry.hosts).isdisjoint(link.hosts):
                yield link, os.path.normpath(os.path.join(os.path.dirname(link.path), link.target))


def _unlinked(entry: Entry, path: JailPath) -> Entry:
    # Which of its names are one file is known of another host only.
    return replace(entry, path=path, hard_link="")


def _led_to(path: str, tree: Mapping[JailPath, Entry]) -> JailPath | None:
    """Where a path leads in a tree, its last name not followed; None where links go round or a file is in the way."""
    at, links = "", 0
    rest = [name for name in reversed(path.split("/")) if name]
    while rest:
        name = rest.pop()
        if name == "..":
            at = at.rpartition("/")[0]
            continue
        here = f"{at}/{name}"
        entry = tree.get(JailPath(here))
        if not rest or entry is None or entry.type is EntryType.DIRECTORY:
            at = here
            continue
        links += 1
        if entry.type is not EntryType.SYMLINK or links > _LINKS:
            return None
        rest.extend(name for name in reversed(entry.target.split("/")) if name not in ("", "."))
        at = "" if entry.target.startswith("/") else at
    return JailPath(at) if at else None


def _add_parents(tree: dict[JailPath, Entry], entry: Entry, path: JailPath) -> None:
    above = JailPath(path.rpartition("/")[0])
    while above and above not in tree:
        tree[above] = Entry(
            above, EntryType.DIRECTORY, 0o755, 0, 0, Origin.PARENT, entry.because, entry.kind, phase=entry.phase,
            hosts=entry.hosts,
        )
        above = JailPath(above.rpartition("/")[0])


def _with_foreign(own: tuple[_Row, ...], rows: tuple[_Row, ...], paths: frozenset[JailPath]) -> tuple[_Row, ...]:
    """The rows of a host, and those of others for paths of which it says nothing itself."""
    found = {row.path: row for row in own}
    for row in rows:
        if row.path not in paths:
            found.setdefault(row.path, row)
    return tuple(found[path] for path in sorted(found))
