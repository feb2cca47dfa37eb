"""The use case `status`: what of jails is no longer what their manifests say or the host has."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tracejail.drift.compare import How
from tracejail.drift.nouns import Drift, Kind, Upgrade
from tracejail.drift.stamps import Stamps, stamp
from tracejail.errors import InputOutputError, TracejailError, UsageError
from tracejail.jail.upkeep import is_pending, name_in_root
from tracejail.kernel.processes import in_child
from tracejail.kernel.survey import LED, STRAIGHT, by_directory, survey
from tracejail.looking import Look, beside, look
from tracejail.manifest import read_manifest, select
from tracejail.model import Entry, EntryType, Manifest
from tracejail.remembered import base_of, key_of, recall, remember
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.resolve.packages import Owner, owners

_FEW = 3   # manifests that are read sooner than a process is started for them


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller says otherwise than the manifest: jail, host root, the host of a merged one; and how to look."""

    jail: str = ""
    host_root: str = ""
    label: str = ""
    full: bool = False
    remember: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """How one jail stands; `error` and `hint` where it could not be looked at."""

    manifest: str
    jail: str = ""
    host_root: str = ""
    entries: int = 0
    rows: tuple[Drift, ...] = ()
    packages: tuple[Upgrade, ...] = ()
    beside: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""
    status: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Hosts:
    """The host roots that were looked at, each opened once, with its data base of packages read once."""

    roots: dict[str, HostRoot] = field(default_factory=dict)
    bases: dict[str, list[object]] = field(default_factory=dict)
    known: dict[str, dict[str, Owner]] = field(default_factory=dict)
    asked: dict[str, set[str]] = field(default_factory=dict)

    def open(self, path: str) -> HostRoot:
        """Raises UsageError."""
        if path not in self.roots:
            self.roots[path] = open_host_root(path)
        return self.roots[path]

    def base(self, path: str) -> list[object]:
        """In which state its data base is. Raises UsageError."""
        if path not in self.bases:
            self.bases[path] = base_of(self.open(path))
        return self.bases[path]

    def owners(self, path: str, paths: Iterable[str]) -> Mapping[str, Owner]:
        """The packages of paths; {} where it has no data base. Raises UsageError, InputOutputError."""
        asked, known = self.asked.setdefault(path, set()), self.known.setdefault(path, {})
        rest = set(paths) - asked
        if rest:
            asked |= rest
            known.update(owners(self.open(path), rest))
        return known


def manifests_in(words: Sequence[str]) -> list[str]:
    """The manifests that the words name: files, and of a directory all that end in .json. Raises UsageError."""
    found = []
    for word in words:
        if os.path.isdir(word):
            names = sorted(name for name in os.listdir(word) if name.endswith(".json") and not name.startswith("."))
            if not names:
                raise UsageError(f"{word}: no manifest in it", "name a directory of NAME.json files, or a manifest")
            found += [os.path.join(word, name) for name in names]
        else:
            found.append(word)
    return found


def status(paths: Sequence[str], wanted: Wanted) -> Iterator[Report]:
    """How each jail stands, one after the other. What keeps one from being looked at is its report's `error`."""
    hosts = Hosts()
    done: dict[str, Report] = {}
    slow = []
    for path in dict.fromkeys(paths):
        began = time.monotonic()
        report = None if wanted.full or wanted.label else _by_stamps(path, recall(path), wanted, hosts)
        if report is None:
            slow.append(path)
        else:
            done[path] = replace(report, seconds=time.monotonic() - began)
    # Where there are many to be read, each processor reads some.
    count = max(1, min(len(os.sched_getaffinity(0)), len(slow) // _FEW))
    parts = [slow[at::count] for at in range(count)]
    others = [in_child(partial(_as_bytes, part, wanted, hosts)) for part in parts[1:]]
    reports = _looked_at(parts[0], wanted, hosts)
    for part, given in zip(parts[1:], others, strict=True):
        data = given()
        reports += pickle.loads(data) if data else _looked_at(part, wanted, hosts)
    done.update((report.manifest, report) for report in reports)
    yield from (done[path] for path in dict.fromkeys(paths))


def _as_bytes(paths: Sequence[str], wanted: Wanted, hosts: Hosts) -> bytes:
    return pickle.dumps(_looked_at(paths, wanted, hosts))


def _looked_at(paths: Sequence[str], wanted: Wanted, hosts: Hosts) -> list[Report]:
    """The reports of those whose manifests are to be read. The packages of all of them are asked for at once."""
    reports = []
    read: list[tuple[str, Manifest]] = []
    for path in paths:
        try:
            read.append((path, select(read_manifest(path), wanted.label)))
        except TracejailError as error:
            reports.append(Report(path, error=error.message, hint=error.hint, status=error.status))
    asked: dict[str, set[str]] = {}
    for _, manifest in read:
        asked.setdefault(wanted.host_root or manifest.host.root, set()).update(entry.path for entry in manifest.entries)
    for root, some in asked.items():
        with contextlib.suppress(TracejailError):   # whoever looks at it hears of it again
            hosts.owners(root, some)
    for path, manifest in read:
        began = time.monotonic()
        try:
            report = report_of(path, manifest, recall(path), wanted, hosts)
        except TracejailError as error:
            report = Report(path, manifest.jail, error=error.message, hint=error.hint, status=error.status)
        reports.append(replace(report, seconds=time.monotonic() - began))
    return reports


def report_of(path: str, manifest: Manifest, known: Stamps, wanted: Wanted, hosts: Hosts) -> Report:
    """How one jail stands. Raises TracejailError."""
    jail, root = wanted.jail or manifest.jail, wanted.host_root or manifest.host.root
    if any(entry.hosts for entry in manifest.entries):
        from tracejail.foreign import settled  # of merged manifests only

        manifest = settled(hosts.open(root), manifest).manifest
    with opened_jail(jail) as fd:
        if is_pending(jail):
            # Half of it is of one state, half of another: what differs from either tells nothing.
            row = Drift("", Kind.INTERRUPTED, f"an update was killed here: tracejail update {path} finishes it")
            return Report(path, jail, root, len(manifest.entries), (row,), status=1)
        found = look_at(path, manifest, known, fd, jail, root, wanted.full, hosts)
        rows = [*found.rows, *needed(hosts.open(root), found)]
        if is_open(fd) and all(place.path != "/" for place in manifest.written):
            rows.append(Drift("/", Kind.TAMPERED, f"others than its owner can write to the jail's root: chmod go-w {jail}"))
    if wanted.remember and not wanted.label:
        remember(path, found.stamps)
    return Report(
        path, jail, root, len(manifest.entries), tuple(rows), upgrades(rows), tuple(found.beside), status=1 if rows else 0
    )


def look_at(
    path: str, manifest: Manifest, known: Stamps, fd: int, jail: str, root: str, full: bool, hosts: Hosts
) -> Look:
    """A look, and the stamps of it with what they are of. Raises InputOutputError, UsageError."""
    key = _key(path, jail, root)
    host = hosts.open(root)
    base = hosts.base(root)
    packages = hosts.owners(root, (entry.path for entry in manifest.entries))
    if known.key[4:] != key[4:]:
        known = Stamps()
    found = look(manifest, host, fd, known, known.key == key, packages, full)
    found.stamps.key, found.stamps.base = key, base
    return found


def needed(host: HostRoot, found: Look) -> list[Drift]:
    """A row for each thing that patched files need and the jail has not. Raises InputOutputError."""
    changed = [row.path for row in found.rows if row.kind is Kind.PATCHED]
    if not changed:
        return []
    from tracejail.needs import needs  # it reads ELF files, and most looks end without

    entries: dict[str, Entry] = {entry.path: entry for entry in found.manifest.entries}
    for path in changed:
        node = next(survey(host.fd, by_directory((path,)), LED))[1]
        link = node is not None and node.st_mode & 0o170000 == 0o120000
        entries[path] = replace(entries[path], type=EntryType.SYMLINK if link else EntryType.FILE)
    asked = needs(host, entries, changed)
    rows = [Drift(row.path, Kind.NEED, f"{_HOW.get(row.how, row.how)} {row.needed_by}") for row in asked.new]
    return rows + [Drift(row.path, Kind.NEED, f"needed by {row.needed_by}, and not on the host") for row in asked.lost]


_HOW = {
    "elf-needed": "a library of", "elf-interpreter": "the loader of", "script-interpreter": "the interpreter of",
    "symlink": "a link on the way from", "link": "led to by",
}


def upgrades(rows: Iterable[Drift]) -> tuple[Upgrade, ...]:
    """The packages of the rows whose version is another one now."""
    found: dict[tuple[str, str, str], int] = {}
    for row in rows:
        if row.package and row.now and row.now != row.version:
            key = (row.package, row.version, row.now)
            found[key] = found.get(key, 0) + 1
    return tuple(Upgrade(*key, count) for key, count in sorted(found.items()))


def is_open(fd: int) -> bool:
    """Whether others than its owner can write to a directory."""
    return bool(os.fstat(fd).st_mode & 0o022)


@contextlib.contextmanager
def opened_jail(jail: str) -> Iterator[int]:
    """A descriptor of the jail's root. Raises InputOutputError."""
    try:
        fd = os.open(jail, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        hint = "tracejail build MANIFEST makes it; -j names another place"
        raise InputOutputError(f"{jail}: {os.strerror(error.errno or 0)}", hint) from None
    try:
        yield fd
    finally:
        os.close(fd)


def _key(path: str, jail: str, root: str) -> list[object]:
    try:
        return [*key_of(path), os.path.abspath(jail), os.path.abspath(root)]
    except OSError as error:
        raise InputOutputError(f"{path}: {os.strerror(error.errno or 0)}", "see whether it is still there") from None


def _by_stamps(path: str, known: Stamps, wanted: Wanted, hosts: Hosts) -> Report | None:
    """The report of a jail in which nothing moved since it was looked at, by the stamps alone; None where that can't be said."""
    if len(known.key) != 6:
        return None
    jail, root = str(known.key[4]), str(known.key[5])
    if any(given and os.path.abspath(given) != own for given, own in ((wanted.jail, jail), (wanted.host_root, root))):
        return None
    try:
        if known.key[:4] != key_of(path) or hosts.base(root) != known.base or is_pending(jail):
            return None
        with opened_jail(jail) as fd:
            if is_open(fd):
                return None
            host = hosts.open(root)
            rows = known.rows
            inside = dict(survey(fd, by_directory(rows), STRAIGHT))
            if any(row.jail != stamp(inside[at], row.jail_how) for at, row in rows.items()):
                return None
            outside = survey(host.fd, by_directory(at for at, row in rows.items() if row.host_how), LED)
            if any(rows[at].host != stamp(one, rows[at].host_how) for at, one in outside):
                return None
            written = [*(at for at, row in rows.items() if row.jail_how == How.TYPE), *name_in_root(fd)]
            return Report(path, jail, root, len(rows), beside=tuple(beside(fd, inside, written)))
    except (OSError, TracejailError):
        return None
