"""A look at one jail: each entry of its manifest against what lies there, in the jail and on the host."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tracejail.contents import contents_of
from tracejail.drift.compare import Bytes, How, Judged, Watch, is_plainly_same, judge_host, judge_jail, watches
from tracejail.drift.nouns import Drift, Kind, Object, object_of
from tracejail.drift.stamps import NEVER, Row, Stamps, meaning, settled_stamp, stamp
from tracejail.errors import InputOutputError
from tracejail.jail.build import Contents
from tracejail.jail.content import digest_of
from tracejail.jail.tree import Tree, open_file, open_tree
from tracejail.jail.upkeep import name_in_root
from tracejail.kernel.paths import is_mounted
from tracejail.kernel.survey import LED, STRAIGHT, by_directory, link_target, names_in, survey
from tracejail.model import Content, Entry, EntryType, HostPath, JailPath, Manifest
from tracejail.resolve.host import HostRoot, inspect, read_start, xattrs
from tracejail.resolve.packages import Owner
from tracejail.resolve.policy import judge

_START = 1 << 16   # bytes of a file that the policy looks at
Statuses = Mapping[str, os.stat_result | None]


@dataclass(slots=True)
class Look:
    """What a look at a jail found. `jail` has what is other there than the manifest says (None: nothing is there), with
    the digest of a file; `touched` the entries that are to be read from the host anew."""

    manifest: Manifest
    rows: list[Drift] = field(default_factory=list)
    jail: dict[str, tuple[Object, str] | None] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    beside: list[str] = field(default_factory=list)
    stamps: Stamps = field(default_factory=Stamps)

    def has(self, kind: Kind) -> bool:
        """Whether anything drifted in this way."""
        return any(row.kind is kind for row in self.rows)


@dataclass(slots=True)
class _Looking:
    found: Look
    host: HostRoot
    tree: Tree
    known: Stamps
    full: bool
    owners: Mapping[str, Owner]
    make: Contents
    owned: bool
    same_manifest: bool


def look(
    manifest: Manifest, host: HostRoot, jail: int, known: Stamps, same_manifest: bool, owners: Mapping[str, Owner],
    full: bool = False,
) -> Look:
    """Compare all. `jail` is a descriptor of the jail's root; `known` is what an earlier look remembers, and whether that was
    of the `same_manifest` in each word; `owners` the package of each path of the host ({} where it has no data base); with
    `full` each file is read.

    Raises InputOutputError.
    """
    found = Look(manifest)
    tree = open_tree(jail, f"{manifest.jail}: ")
    work = _Looking(
        found, host, tree, known, full, owners, contents_of(host, manifest.entries, manifest.accounts),
        os.fstat(jail).st_uid == 0, same_manifest,
    )
    watch = watches(manifest)
    watched = [(entry, watch(entry)) for entry in manifest.entries]
    try:
        inside = dict(survey(jail, by_directory(entry.path for entry, _ in watched), STRAIGHT))
        outside = dict(survey(host.fd, by_directory(entry.path for entry, each in watched if each.host), LED))
        now = time.time_ns()
        for entry, each in watched:
            _one(work, entry, each, inside.get(entry.path), outside.get(entry.path), now)
        found.beside = beside(jail, inside, [*(place.path for place in manifest.written), *name_in_root(jail)])
    except OSError as error:
        raise InputOutputError(f"{manifest.jail}: {error.strerror or error}", "see whether the jail is sound") from None
    return found


def beside(jail: int, inside: Statuses, written: Iterable[str]) -> list[str]:
    """What lies in the jail's directories beside its entries, but for the places that the program writes to. `inside` is
    each entry with its stat(2). Raises OSError."""
    device = os.fstat(jail).st_dev
    skipped = set(written)
    directories = [
        path for path, one in inside.items()
        if one is not None and stat.S_ISDIR(one.st_mode) and one.st_dev == device and path not in skipped
    ]
    if "/" not in skipped:
        directories.append("")
    paths = (f"{directory}/{name}" for directory in directories for name in names_in(jail, directory))
    return sorted(path for path in paths if path not in inside and path not in skipped)


def _one(
    work: _Looking, entry: Entry, watch: Watch, inside: os.stat_result | None, outside: os.stat_result | None, now: int
) -> None:
    if inside is not None and inside.st_dev != work.tree.device and is_mounted(work.tree.fd, entry.path):
        watch = watch._replace(jail=How.TYPE)   # what is mounted there is not the jail's
    row = Row(watch.jail, stamp(inside, watch.jail), watch.host, stamp(outside, watch.host), meaning(entry))
    before = work.known.rows.get(entry.path)
    if before is not None and before.meant != row.meant:
        before = _OTHER
    first = second = _SAME
    if before is None or work.full or (before.jail_how, before.jail) != (row.jail_how, row.jail):
        first = _in_jail(work, entry, watch, inside, before is not None)
    owner = work.owners.get(entry.path, ("", "")) if work.owners else (entry.package, entry.version)
    moved = watch.host is How.WHOLE and _bare(owner) != _bare((entry.package, entry.version))
    if entry.content in _OF_OTHERS and not work.same_manifest:
        before = _OTHER
    if watch.host and (before is None or work.full or moved or (before.host_how, before.host) != (row.host_how, row.host)):
        second = _on_host(work, entry, watch, outside, before is not None or moved)
    found = work.found
    if second != _SAME:
        kind, words = _kind(work, entry, second)
        found.rows.append(Drift(entry.path, kind, words, owner[0] or entry.package, entry.version, owner[1]))
        found.touched.add(entry.path)
    elif moved:
        found.rows.append(Drift(entry.path, Kind.VERSION, "the same content", owner[0] or entry.package, entry.version, owner[1]))
        found.touched.add(entry.path)
    elif outside is not None and watch.host is How.WHOLE and entry.mtime_ns not in (0, outside.st_mtime_ns):
        found.touched.add(entry.path)   # the same bytes with another time: some programs compare times
    if first != _SAME:
        _note_jail(work, entry, first, inside)
    row.jail = NEVER if first != _SAME else settled_stamp(row.jail, row.jail_how, now)
    row.host = NEVER if second != _SAME or moved else settled_stamp(row.host, row.host_how, now)
    found.stamps.rows[entry.path] = row


def _bare(owner: Owner) -> Owner:
    # With or without its architecture: dpkg says it where there may be several of one package.
    return owner[0].partition(":")[0], owner[1]


def _kind(work: _Looking, entry: Entry, judged: Judged) -> tuple[Kind, str]:
    if judged.words == _GONE:
        return Kind.HOST_GONE, ""
    if judged.shaped:
        return Kind.SHAPE, judged.words
    if judged.bytes is Bytes.SAME:
        return Kind.ATTRIBUTES, judged.words
    reason = _denied(work, entry)
    return (Kind.DENIED, reason) if reason else (Kind.PATCHED, judged.words)


_GONE = "gone"
_OTHER = Row(How.WHOLE, NEVER, How.WHOLE, NEVER)
_OF_OTHERS = (Content.LD_CACHE, Content.NSSWITCH, Content.ACCOUNTS)   # made by what else is in the manifest
_SAME = Judged("")


def _note_jail(work: _Looking, entry: Entry, judged: Judged, inside: os.stat_result | None) -> None:
    if inside is None:
        work.found.jail[entry.path] = None
        work.found.rows.append(Drift(entry.path, Kind.JAIL_GONE, "", entry.package, entry.version))
        return
    there = _object(work.tree.fd, entry.path, inside, STRAIGHT)
    digest = _jail_digest(work, entry.path) if there.type is EntryType.FILE else ""
    work.found.jail[entry.path] = there, digest
    kind = Kind.SHAPE if judged.shaped else Kind.TAMPERED
    work.found.rows.append(Drift(entry.path, kind, judged.words, entry.package, entry.version))


# --- each side --------------------------------------------------------------------------------------------------------


def _in_jail(work: _Looking, entry: Entry, watch: Watch, inside: os.stat_result | None, known: bool) -> Judged:
    if inside is not None and not (known or work.full) and is_plainly_same(entry, inside, watch.jail):
        return _SAME
    if inside is None:
        return _SAME if watch.may_go else Judged(_GONE, Bytes.OTHER)
    there = _object(work.tree.fd, entry.path, inside, STRAIGHT)
    judged = judge_jail(entry, there, watch.jail, work.owned)
    if entry.type is not EntryType.FILE or there.type is not EntryType.FILE or watch.jail is not How.WHOLE:
        return judged
    if judged.bytes is Bytes.UNSURE or (judged.bytes is Bytes.SAME and (known or work.full)):
        same = not entry.sha256 or _jail_digest(work, entry.path) == entry.sha256
        judged = judged._replace(bytes=Bytes.SAME if same else Bytes.OTHER)
    if (known or work.full or entry.xattrs) and work.owned and _jail_xattrs(work, entry.path) != _kept(entry.xattrs):
        judged = _with(judged, "extended attributes")
    return _with(judged, "other content") if judged.bytes is Bytes.OTHER else judged


def _on_host(work: _Looking, entry: Entry, watch: Watch, outside: os.stat_result | None, known: bool) -> Judged:
    if outside is None:
        return Judged(_GONE, Bytes.OTHER)
    if not (known or work.full) and is_plainly_same(entry, outside, watch.host):
        return _SAME
    there = _object(work.host.fd, entry.path, outside, LED)
    judged = judge_host(entry, there, watch.host)
    if there.type is not entry.type or watch.host is not How.WHOLE:
        return judged
    if entry.type is not EntryType.FILE:
        return judged
    made = entry.content is not Content.HOST
    if judged.bytes is Bytes.UNSURE or (judged.bytes is Bytes.SAME and (known or work.full)):
        # Of what was merged from several runs it is not known what was made: then it is what the jail has.
        same = _made_digest(work, entry) == (entry.sha256 or _jail_digest(work, entry.path))
        judged = judged._replace(bytes=Bytes.SAME if same else Bytes.OTHER)
    if (known or work.full) and _kept(xattrs(work.host, entry.path)) != _kept(entry.xattrs):
        judged = _with(judged, "extended attributes")
    if judged.bytes is Bytes.OTHER:
        return _with(judged, "would be made otherwise now" if made else "other content")
    return judged


def _with(judged: Judged, words: str) -> Judged:
    return judged._replace(words=f"{judged.words}, {words}" if judged.words else words)


def _kept(attributes: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(attributes))


def _object(root: int, path: str, status: os.stat_result, resolve: int) -> Object:
    there = object_of(status)
    return object_of(status, link_target(root, path, resolve)) if there.type is EntryType.SYMLINK else there


def _jail_digest(work: _Looking, path: str) -> str:
    source = open_file(work.tree, path)
    if source is None:
        return ""
    try:
        return digest_of(source)[0]
    finally:
        os.close(source)


def _jail_xattrs(work: _Looking, path: JailPath) -> tuple[tuple[str, str], ...]:
    return _kept(xattrs(HostRoot(HostPath(work.tree.name), work.tree.fd), path))


def _made_digest(work: _Looking, entry: Entry) -> str:
    source = work.make(entry)
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        return digest_of(source)[0]
    finally:
        os.close(source)


def _denied(work: _Looking, entry: Entry) -> str:
    """Why the policy keeps out what the host has there now, where what the jail has was let in; else ""."""
    node = inspect(work.host, entry.path)
    if node is None or node.type is not EntryType.FILE or entry.content is not Content.HOST:
        return ""
    verdict = judge(entry.path, node, read_start(work.host, entry.path, _START), ())
    if verdict.allowed:
        return ""
    source = open_file(work.tree, entry.path)
    start = b""
    if source is not None:
        start = os.pread(source, _START, 0)
        os.close(source)
    return verdict.reason if judge(entry.path, node, start, ()).allowed else ""
