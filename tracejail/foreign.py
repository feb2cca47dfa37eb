"""What of a merged manifest other hosts alone have, as it is on this one: the part that no manifest can say."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from tracejail.contents import with_hard_links
from tracejail.jail.tree import open_tree
from tracejail.model import Content, Entry, EntryType, JailPath, Manifest, Origin
from tracejail.resolve.host import HostNode, HostRoot, inspect
from tracejail.resolve.policy import judge
from tracejail.trial.supply import Rules, Supply
from tracejail.trial.target import MOUNT_TYPES, new_supply
from tracejail.trial.walk import Hop

_MOST_NAMED = 3


class Settled(NamedTuple):
    """A manifest whose entries are all of this host, and what had to be left out, in words."""

    manifest: Manifest
    notes: tuple[str, ...]


def settled(host: HostRoot, manifest: Manifest) -> Settled:
    """The manifest with what other hosts alone have as this one has it, links followed to their end; without what it does
    not have or the policy denies. Times on which the hosts did not agree are this host's.

    Raises InputOutputError.
    """
    own: dict[str, Entry] = {entry.path: _with_time(host, entry) for entry in manifest.entries if not entry.hosts}
    foreign = [entry for entry in manifest.entries if entry.hosts]
    if not foreign:
        return Settled(replace(manifest, entries=tuple(own.values())), ())
    supply = new_supply(host, open_tree(host.fd, "the host: "), Rules())
    supply.on_paper = True
    supply.supplied.update(own)
    absent: list[Entry] = []
    notes: list[str] = []
    brought: list[Entry] = []
    for entry in foreign:
        node = inspect(host, entry.path)
        if node is None:
            absent.append(entry)
            continue
        supply.rules = _rules(node, entry, manifest)
        found = supply.resolve("/", "/", entry.path, follow=entry.content is not Content.EMPTY)
        refusal = supply.refusal(found)
        if refusal is not None:
            notes.append(f"{entry.path}, which only {_hosts((entry,))} had, is left out: {refusal.path}: {refusal.reason}")
            continue
        for hop in found.hops:
            here = inspect(host, JailPath(hop.path)) if hop.path not in supply.supplied else None
            if here is not None:
                brought.append(_as_here(supply, here, hop, entry))
                supply.supplied[hop.path] = brought[-1]
    if absent:
        more = f" and {len(absent) - _MOST_NAMED} more" if len(absent) > _MOST_NAMED else ""
        named = ", ".join(entry.path for entry in absent[:_MOST_NAMED])
        notes.insert(0, f"what only {_hosts(absent)} had and this host has not is left out: {named}{more}")
    entries = sorted((*own.values(), *with_hard_links(host, brought)), key=lambda entry: entry.path)
    return Settled(replace(manifest, entries=tuple(entries)), tuple(notes))


def _hosts(entries: Iterable[Entry]) -> str:
    return ", ".join(dict.fromkeys(label for entry in entries for label in entry.hosts))


def _with_time(host: HostRoot, entry: Entry) -> Entry:
    if entry.type is not EntryType.FILE or entry.content is not Content.HOST or entry.mtime_ns:
        return entry
    node = inspect(host, entry.path)
    return replace(entry, mtime_ns=node.mtime_ns) if node is not None else entry


def _rules(node: HostNode, entry: Entry, manifest: Manifest) -> Rules:
    """What lies at a place that the policy denies was let in when the manifest was learned. What only its content or its
    kind on this host makes a secret or a danger was not."""
    mounts = frozenset(name for name, row in MOUNT_TYPES.items() if row in {(m.type, m.path) for m in manifest.mounts})
    same = node.type is entry.type and node.device == entry.device
    let_in = same and not judge(entry.path, node, b"", ()).allowed
    return Rules((glob.escape(entry.path),) if let_in else (), (), mounts, manifest.accounts.everything)


def _as_here(supply: Supply, node: HostNode, hop: Hop, entry: Entry) -> Entry:
    origin = entry.origin if hop.last else Origin.SYMLINK if node.type is EntryType.SYMLINK else Origin.PARENT
    bare = replace(
        supply.bare(node), origin=origin, because=entry.because, kind=entry.kind, via=hop.via or entry.via, phase=entry.phase,
        hosts=entry.hosts,
    )
    if not hop.last or not node.type is entry.type is EntryType.FILE:
        return bare
    mode = bare.mode & 0o1777 | node.mode & entry.mode & 0o6000  # set-ID bits were let in, or they were not
    if entry.content is Content.EMPTY:
        return replace(bare, mode=mode & 0o1777, size=0, mtime_ns=0, content=Content.EMPTY, xattrs=())
    return replace(bare, mode=mode)
