"""From what was seen of running processes to the entries of a first guess.

All of it is found out after they were let go, on paper: the host is asked, nothing is copied. What is no longer there by
then, as a temporary file, is no entry. Files that they write to are none either: a copy of what is being written is
worth little, and a log or a pid file belongs to the process that made it. Their directories are.
"""

from __future__ import annotations

import collections
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tracejail.deps import closure_of
from tracejail.jail.tree import Tree
from tracejail.model import Because, EntryType, JailPath, MissKind, Origin, PathArgument, PathNote, SyscallRecord, Want, Written
from tracejail.resolve.elf import read_elf
from tracejail.resolve.host import HostRoot, inspect, open_source
from tracejail.resolve.policy import RUNTIME_STATE
from tracejail.snapshot import Root, Snapshot
from tracejail.trace.misses import absolute
from tracejail.trace.misses import because as because_of
from tracejail.trace.table import OPENS
from tracejail.trial.interpreters import interpreters
from tracejail.trial.ledger import Ledger
from tracejail.trial.supply import Refusal, Rules, Supply
from tracejail.trial.target import include, new_supply, put_base
from tracejail.trial.walk import Place, Walk, parent_of
from tracejail.trial.written import use_of

_MOST = 200_000          # questions that are remembered
_PHASE = "watch"
_WRITES = frozenset(("creat", "truncate", "truncate64", "bind"))
_NOT_THERE = (-errno.ENOENT, -errno.ENOTDIR)
_REFUSED = (-errno.EACCES, -errno.EPERM)
_NAMED = 4               # files that a note names
_CACHE = "/etc/ld.so.cache"


@dataclass(slots=True)
class Calls:
    """The calls that were seen, the first of each question; a process asks most of them again and again."""

    root: Root
    records: dict[tuple[object, ...], SyscallRecord] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    listens: dict[str, None] = field(default_factory=dict)
    news: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=_MOST))   # a line each

    def hear(self, record: SyscallRecord) -> None:
        """A call has returned."""
        if record.result >= 0 and record.address.startswith("inet:") and record.syscall == "bind":
            address = record.address.removeprefix("inet:")
            if not address.endswith(":0"):
                self.listens[address] = None
        if record.result >= 0 and record.syscall == "io_uring_setup":
            self.notes[f"opaque: {record.program} uses io_uring, and what it opens that way is not seen"] = None
        for argument in record.arguments:
            key = (record.syscall, argument, record.flags & (os.O_ACCMODE | os.O_CREAT), record.result in _NOT_THERE)
            if key in self.records:
                continue
            if len(self.records) >= _MOST:
                self.notes[f"only the first {_MOST} paths that it asked for were taken"] = None
                return
            self.records[key] = replace(record, arguments=(argument,))
            self.news.append(f"{record.syscall} {argument.spelled}")

    def each(self) -> Iterable[tuple[SyscallRecord, PathArgument]]:
        """What was asked for, as paths of the root."""
        inner = self.root.inner
        for record in self.records.values():
            argument = record.arguments[0]
            # Without a process of another root directory the tracer has not asked for it, and says "/".
            own = inner(argument.root) if argument.root != "/" or self.root.path == "/" else "/"
            if own:
                base = inner(argument.base)
                spelled = argument.spelled if argument.want is not Want.LIST else inner(argument.spelled)
                program = inner(record.program) or record.program
                yield replace(record, program=program), replace(argument, root=own, base=base, spelled=spelled)


@dataclass(slots=True)
class Guess:
    """The entries on their way."""

    host: HostRoot
    supply: Supply
    calls: Calls
    snapshot: Snapshot
    written: set[str] = field(default_factory=set)          # files, by real path
    changed: dict[str, None] = field(default_factory=dict)  # directories in which names come and go
    notes: dict[str, None] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        return self.supply.ledger

    def places(self) -> tuple[Written, ...]:
        """Where they write to."""
        found = []
        for path in sorted(self.changed):
            node = inspect(self.host, JailPath(path))
            if node is not None and node.type is EntryType.DIRECTORY and not node.virtual and path in self.ledger.entries:
                found.append(Written(node.path, node.type, node.mode, node.uid, node.gid, use_of(path)))
        return tuple(found)


def guess(
    host: HostRoot, tree: Tree, rules: Rules, argv: tuple[str, ...], includes: tuple[str, ...], snapshot: Snapshot, calls: Calls
) -> Guess:
    """The entries for what was seen. `tree` is not touched. Raises InputOutputError; DeniedError, UsageError for what
    --include names."""
    supply = new_supply(host, tree, rules)
    supply.on_paper = True
    supply.ledger.phase = _PHASE
    work = Guess(host, supply, calls, snapshot)
    _find_written(work)
    put_base(supply)
    _programs(work, argv)
    _libraries(work)
    _open_things(work)
    for record, argument in calls.each():
        _call(work, record, argument)
    for path in includes:
        include(supply, path)
    _say_written(work)
    work.notes |= supply.warnings
    return work


def check_includes(host: HostRoot, tree: Tree, rules: Rules, paths: tuple[str, ...]) -> None:
    """Raises DeniedError, UsageError for a path of --include that can't be had."""
    supply = new_supply(host, tree, rules)
    supply.on_paper = True
    for path in paths:
        include(supply, path)


def _find_written(work: Guess) -> None:
    for path, (_, descriptor) in work.snapshot.opened.items():
        if descriptor.flags & os.O_ACCMODE:
            _is_written(work, "/", "/", path)
    for path, (_, mapped) in work.snapshot.mapped.items():
        if mapped.written:
            _is_written(work, "/", "/", path)
    for record, argument in work.calls.each():
        opened = record.syscall in OPENS and record.flags & (os.O_ACCMODE | os.O_TRUNC)
        if record.result >= 0 and (opened or record.syscall in _WRITES):
            _is_written(work, argument.root, argument.base, argument.spelled)


def _is_written(work: Guess, root: str, base: str, path: str) -> None:
    found = work.supply.resolve(root, base, path, follow=True)
    if found.place is Place.FOUND and found.hops and found.hops[-1].type in (EntryType.FILE, EntryType.SOCKET):
        work.written.add(found.path)


def _say_written(work: Guess) -> None:
    names = sorted(path for path in work.written if parent_of(path) in work.ledger.entries)
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        work.notes[f"written to while it runs, and so not copied: {', '.join(names[:_NAMED])}{more}"] = None


# --- what there was at the beginning and at the end ----------------------------------------------------------------


def _programs(work: Guess, argv: tuple[str, ...]) -> None:
    for path in dict.fromkeys((argv[0], *work.snapshot.programs)):
        real = _take(work, path, Origin.ARGV, None)
        if real:
            while interpreters(work.supply, real, "/", "/", None, bring=True):
                pass
    # What the arguments name was read before anybody watched.
    for word in argv[1:]:
        for part in (word, word.partition("=")[2]):
            if part.startswith("/") and len(part) > 1:
                _take(work, part, Origin.ARGV, None, only_if_allowed=True)


def _libraries(work: Guess) -> None:
    mapped = {path: program for path, (program, each) in work.snapshot.mapped.items() if path and not each.written}
    there = {path: program for path, program in mapped.items() if _is_file(work.host, path)}
    for path, (_, each) in work.snapshot.mapped.items():
        if each.deleted and path in there:
            work.notes[f"{path} has been replaced since it was mapped: the one that is there now was taken"] = None
    # The loader looks for the names that the files say: those lead to what is mapped by way of links.
    for row in closure_of(work.host, [*work.snapshot.programs, *there]):
        if row.found and row.how in ("elf-needed", "elf-interpreter", "symlink"):
            origin = Origin.ELF_INTERPRETER if row.how == "elf-interpreter" else Origin.ELF_NEEDED
            _take(work, row.path, origin, None, via=row.needed_by)
    for path, program in there.items():
        _take(work, path, Origin.MISS, Because(program, "mmap", path))
        link = _soname_link(work, path)
        if link:
            _take(work, link, Origin.MISS, Because(program, "mmap", link))
    if any(entry.origin is Origin.ELF_INTERPRETER for entry in work.ledger.entries.values()) and _is_file(work.host, _CACHE):
        _take(work, _CACHE, Origin.MISS, None)


def _is_file(host: HostRoot, path: str) -> bool:
    node = inspect(host, JailPath(path))
    return node is not None and node.type is EntryType.FILE and not node.virtual


def _soname_link(work: Guess, path: str) -> str:
    """The link by which a library was found that is not where a loader looks by itself (LD_LIBRARY_PATH, dlopen(3))."""
    with os.fdopen(open_source(work.host, JailPath(path)), "rb") as stream:
        facts = read_elf(stream) if stream.read(4) == b"\x7fELF" else None
    if facts is None or not facts.soname or "/" in facts.soname or facts.soname == os.path.basename(path):
        return ""
    link = f"{parent_of(path)}/{facts.soname}"
    found = work.supply.resolve("/", "/", link, follow=True)
    return link if found.place is Place.FOUND and found.path == path else ""


def _open_things(work: Guess) -> None:
    for path, program in work.snapshot.directories.items():
        if path:
            _take(work, path, Origin.MISS, Because(program, "chdir", path))
    for path, (program, descriptor) in work.snapshot.opened.items():
        if path:
            because = Because(program, "open", path)
            if descriptor.flags & os.O_ACCMODE:
                _make_place(work, "/", "/", path, True, because)
            else:
                _take(work, path, Origin.MISS, because)


# --- what was asked for while it was watched -----------------------------------------------------------------------


def _call(work: Guess, record: SyscallRecord, argument: PathArgument) -> None:
    because = because_of(record, argument)
    root, base, spelled = argument.root, argument.base, argument.spelled
    create = argument.want in (Want.CREATE, Want.REMOVE)
    if record.result in _NOT_THERE:
        found = work.supply.resolve(root, base, spelled, argument.follow, create)
        if found.place in (Place.ABSENT, Place.FAILS) and argument.want is not Want.REMOVE:
            path = absolute(argument)
            work.ledger.absent.setdefault(path, PathNote(path, "not on the host either", because))
        return
    if record.result in _REFUSED:
        return
    if create or (record.syscall in OPENS and record.flags & os.O_ACCMODE):
        _make_place(work, root, base, spelled, argument.follow, because, record.result >= 0)
        return
    found = work.supply.resolve(root, base, spelled, argument.follow)
    path = _bring(work, found, Origin.MISS, because, MissKind.LISTING if argument.want is Want.LIST else MissKind.ABSENT)
    if path and argument.want is Want.EXECUTE:
        while interpreters(work.supply, path, root, base, because, bring=True):
            pass


def _make_place(
    work: Guess, root: str, base: str, spelled: str, follow: bool, because: Because, changed: bool = True
) -> None:
    """The directory of what is made, written or taken away; a device, or a link that is followed, is there itself."""
    found = work.supply.resolve(root, base, spelled, follow, create=True)
    if found.place is Place.ABSENT:
        return
    _bring(work, found, Origin.MISS, because, MissKind.CREATE)
    kept = found.hops and found.hops[-1].path == found.path and found.hops[-1].type is not EntryType.DIRECTORY
    if changed and not kept:
        work.changed[parent_of(found.path)] = None


# --- bringing ------------------------------------------------------------------------------------------------------


def _take(
    work: Guess, path: str, origin: Origin, because: Because | None, via: str = "", only_if_allowed: bool = False
) -> str:
    """An absolute path and all that leads to it; the real path, "" where it did not become an entry."""
    found = work.supply.resolve("/", "/", path, follow=True)
    kind = MissKind.ABSENT if origin is Origin.MISS else None
    return _bring(work, found, origin, because, kind, via, only_if_allowed)


def _bring(
    work: Guess, found: Walk, origin: Origin, because: Because | None, kind: MissKind | None, via: str = "",
    only_if_allowed: bool = False,
) -> str:
    if found.place not in (Place.FOUND, Place.FREE):
        return ""
    if found.place is Place.FOUND and found.path in work.written:
        hops = tuple(hop for hop in found.hops if hop.path != found.path)
        found = replace(found, hops=hops)
        work.changed[parent_of(found.path)] = None
    refusal = work.supply.refusal(found)
    if refusal is not None:
        if not only_if_allowed:
            _refused(work, refusal, because)
        return ""
    work.supply.bring(found)
    work.supply.note(found, origin, because, kind, via)
    return found.path if found.path in work.ledger.entries else ""


def _refused(work: Guess, refusal: Refusal, because: Because | None) -> None:
    ledger = work.ledger
    tables = {"denied": ledger.denied, "virtual": ledger.virtual, "socket": ledger.sockets}
    table = tables.get(refusal.kind)
    if table is not None and refusal.reason != RUNTIME_STATE:
        asked = because or Because("", "", refusal.path)
        table.setdefault(refusal.path, PathNote(refusal.path, refusal.reason, asked))
