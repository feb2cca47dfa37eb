"""The bytes of a manifest's files: from the host, or made for this jail (accounts, ld.so.cache)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace

from tracejail.errors import InputOutputError
from tracejail.jail.build import Contents, Times, attributes_of
from tracejail.jail.content import digest_of
from tracejail.jail.tree import Tree, make_file, remove
from tracejail.model import Accounts, Content, Entry, EntryType, JailPath
from tracejail.resolve.accounts import REDUCE
from tracejail.resolve.host import HostRoot, inspect, open_source, read_start
from tracejail.resolve.loader import reduce_cache
from tracejail.resolve.nsswitch import modules_in, reduce_nsswitch, with_bells
from tracejail.trial.walk import Found, Place, walk

_LARGEST_MADE = 64 << 20  # bytes: no passwd or ld.so.cache is larger


def contents_of(host: HostRoot, entries: Iterable[Entry], accounts: Accounts) -> Contents:
    """The function that `populate` asks for a file's bytes."""
    present = {entry.path: entry for entry in entries}

    def give(entry: Entry) -> int | bytes:
        match entry.content:
            case Content.HOST:
                return open_source(host, entry.path)
            case Content.EMPTY:
                return b""
            case Content.ACCOUNTS:
                text = read_start(host, entry.path, _LARGEST_MADE)
                reduce = REDUCE.get(os.path.basename(entry.path))
                if reduce is None:
                    # A manifest may say anything: what can't be reduced does not come whole for that.
                    raise InputOutputError(f"{entry.path}: no file of accounts that is known", "learn it again")
                return text if accounts.everything else reduce(text, accounts)
            case Content.NSSWITCH:
                text = read_start(host, entry.path, _LARGEST_MADE)
                return reduce_nsswitch(text, _modules(present.values()))
            case Content.LD_CACHE:
                data = read_start(host, entry.path, _LARGEST_MADE)
                # Most libraries of a host are in no directory of the jail: they need no walk.
                known = {os.path.basename(path) for path in present}
                return reduce_cache(data, lambda path: os.path.basename(path) in known and _is_file(present, path))

    return give


def _modules(entries: Iterable[Entry]) -> frozenset[bytes]:
    return modules_in([entry.path for entry in entries if entry.content is not Content.EMPTY])


def put_bells(host: HostRoot, entries: Iterable[Entry], tree: Tree, whole: bool = False) -> None:
    """Give nsswitch.conf in a trial's tree its bells, so that the accounts which are asked for in vain can be compared
    with another run's. With `whole` it is the host's, else the jail's."""
    entries = list(entries)
    for entry in entries:
        if entry.content is Content.NSSWITCH:
            text = read_start(host, entry.path, _LARGEST_MADE)
            text = text if whole else reduce_nsswitch(text, _modules(entries))
            remove(tree, entry.path)
            make_file(tree, entry.path, with_bells(text), attributes_of(entry))


def _is_file(present: dict[JailPath, Entry], path: str) -> bool:
    def look(at: str) -> Found | None:
        entry = present.get(JailPath(at))
        return Found(entry.type, entry.target) if entry else None

    found = walk("/", "/", path, True, False, look, lambda _: None)
    entry = present.get(JailPath(found.path))
    return found.place is Place.FOUND and entry is not None and entry.type is EntryType.FILE


def times_of(host: HostRoot) -> Times:
    """The host's times of directories and symlinks; they are not in the manifest, as they change with no change of it."""

    def give(entry: Entry) -> int | None:
        node = inspect(host, entry.path)
        return node.mtime_ns if node is not None and node.type is entry.type else None

    return give


def with_digests(
    host: HostRoot, entries: list[Entry], accounts: Accounts, others: Iterable[Entry] = ()
) -> list[Entry]:
    """The entries with size and sha256 of what the jail will hold, and with their hard links. `others` are in it too, and
    count for what is made of what is there.

    Raises InputOutputError for a source that can't be read.
    """
    give = contents_of(host, [*entries, *others], accounts)
    known: dict[str, tuple[str, int]] = {}
    done = []
    for entry in with_hard_links(host, entries):
        if entry.type is EntryType.FILE:
            # The names of one inode have the same bytes, and its first name comes first.
            found = known.get(entry.hard_link)
            if found is None and not (entry.content is Content.HOST and entry.sha256):
                found = _digest(give(entry))
            if found is not None:
                entry = replace(entry, sha256=found[0], size=found[1])
            known[entry.path] = entry.sha256, entry.size
        done.append(entry)
    return done


def with_hard_links(host: HostRoot, entries: list[Entry]) -> list[Entry]:
    """The entries by path, names of one host inode as hard links to the first of them; without the digest of a file
    that has changed since it was made."""
    first_names: dict[tuple[int, int], str] = {}
    done = []
    for entry in sorted(entries, key=lambda entry: entry.path):
        node = inspect(host, entry.path) if entry.type is EntryType.FILE and entry.content is Content.HOST else None
        if node is not None and (node.mtime_ns, node.size) != (entry.mtime_ns, entry.size):
            entry = replace(entry, mtime_ns=node.mtime_ns, size=node.size, sha256="")
        first = first_names.setdefault(node.inode, entry.path) if node is not None and node.links > 1 else ""
        link = "" if first == entry.path else first
        done.append(entry if link == entry.hard_link else replace(entry, hard_link=link))
    return done


def _digest(source: int | bytes) -> tuple[str, int]:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest(), len(source)
    try:
        return digest_of(source)
    finally:
        os.close(source)
