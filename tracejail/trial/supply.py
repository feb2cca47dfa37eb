"""Bringing things from the host into the trial tree: the object, its directories, the hops of its symlinks."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tracejail.jail import tree as jail_tree
from tracejail.jail.tree import Attributes, Tree
from tracejail.model import Because, Content, Entry, EntryType, JailPath, MissKind, Origin, PathNote, SyscallRecord
from tracejail.resolve.accounts import REDUCE, account_names
from tracejail.resolve.host import HostNode, HostRoot, inspect, may_read, open_source, read_start, xattrs
from tracejail.resolve.nsswitch import with_bells
from tracejail.resolve.policy import judge

from .ledger import Ledger
from .stand_ins import StandIns
from .walk import Found, Hop, Walk, walk
from .wanted import names_near

# How much of a file the policy looks at for a private key, in bytes.
_START = 1 << 16
_LARGEST_TEXT = 1 << 20
# Files whose jail copy is made from what the manifest says, not copied: the host's whole one is in the trial only.
MADE = {
    **{f"/etc/{name}": Content.ACCOUNTS for name in REDUCE},
    "/etc/nsswitch.conf": Content.NSSWITCH,
    "/etc/ld.so.cache": Content.LD_CACHE,
}
_MOUNTS = {"proc": "proc", "sys": "sysfs", "devpts": "devpts"}
_PTMX = (5, 2)
CLOSED = "this user may not read it on the host"   # the reason of a denied path
REMOVED = "the program itself removed it before"   # the reason of an absent path that the host has
_OF_A_PROCESS = re.compile(r"/proc/[0-9]+/.")
_INTERPRETERS = 5  # nested "#!" that the kernel follows (fs/exec.c, bprm depth)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user allowed and left out, as globs, and the mounts that the trial has."""

    allows: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    mounts: frozenset[str] = frozenset()    # proc, sys, devpts
    accounts_whole: bool = False
    max_names: int = 20000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a host object is not brought: `kind` is denied, virtual or socket."""

    kind: str
    reason: str
    path: str


@dataclass(frozen=True, slots=True)
class StandIn:
    node: HostNode
    inode: int


@dataclass(slots=True)
class Supply:
    """A trial tree, the host behind it, and what of the host is in it already."""

    host: HostRoot
    tree: Tree
    rules: Rules
    ledger: Ledger
    made: Mapping[str, Content] = field(default_factory=lambda: MADE)   # by the real path
    supplied: dict[str, Entry] = field(default_factory=dict)
    stand_ins: dict[str, StandIn] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)           # by a listing, and nobody has used it yet
    listed: dict[str, int] = field(default_factory=dict)   # the same, once it has been read
    stocked: dict[str, int] = field(default_factory=dict)  # directory -> how many names it was given
    whole: set[str] = field(default_factory=set)           # directories that came with all that is beneath them
    removed: set[str] = field(default_factory=set)         # by the target itself: gone for it, whatever the host has
    on_paper: bool = False   # after the run: what is brought is noted for the next tree, and the used one is not asked
    watch: StandIns | None = None                          # hears of the use of what is shown
    saved: set[str] = field(default_factory=set)           # brought before they were missed, to save rounds
    inodes: dict[tuple[int, int], str] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    say: Callable[[str], None] = lambda _: None

    # --- looking ---------------------------------------------------------------------------------------------

    def resolve(self, root: str, base: str, spelled: str, follow: bool, create: bool = False) -> Walk:
        """The walk of a path through both trees; changes nothing."""
        return walk(root, base, spelled, follow, create, self._in_trial, self._on_host)

    def _in_trial(self, path: str) -> Found | None:
        if self.on_paper:
            entry = self.supplied.get(path)
            return Found(entry.type, entry.target) if entry else None
        if path in self.shown:
            # Whether a link was followed shows in its time of last access, which reading it would change.
            seen = jail_tree.look(self.tree, path, target=False)
            return Found(seen.type, self.supplied[path].target, seen.foreign) if seen else None
        seen = jail_tree.look(self.tree, path)
        return Found(seen.type, seen.target, seen.foreign) if seen else None

    def _on_host(self, path: str) -> Found | None:
        if self.excluded(path) or (self.removed and self.was_removed(path)):
            return None
        node = inspect(self.host, JailPath(path))
        if node is None and _OF_A_PROCESS.match(path):
            # What proc has of a process depends on which one asks: here it is this one, not the target.
            return Found(EntryType.FILE)
        return Found(node.type, node.target) if node else None

    def was_removed(self, path: str) -> bool:
        while path != "/":
            if path in self.removed:
                return True
            path = path.rpartition("/")[0] or "/"
        return False

    def excluded(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, glob) for glob in self.rules.excludes)

    def refusal(self, found: Walk) -> Refusal | None:
        """Why the missing hops of a walk can't be brought; None if they can."""
        for hop in found.hops:
            if hop.missing:
                node = inspect(self.host, JailPath(hop.path))
                reason = self._refuse(hop, node) if node else None
                if reason:
                    return reason
        return None

    def _refuse(self, hop: Hop, node: HostNode) -> Refusal | None:
        if node.closed:
            return Refusal("denied", CLOSED, hop.path)
        if node.virtual:
            above = inspect(self.host, JailPath(hop.path.rpartition("/")[0] or "/"))
            # The mount point itself can be a plain directory; what is in the mount can't be copied.
            if hop.last and node.type is EntryType.DIRECTORY and above is not None and not above.virtual:
                return None
            if node.virtual in _MOUNTS:
                if node.virtual in self.rules.mounts:
                    return Refusal("absent", "not in the mounted one", hop.path)
                return Refusal("virtual", node.virtual, hop.path)
            return Refusal("denied", f"lies on a file system of type {node.virtual}", hop.path)
        if node.type is EntryType.SOCKET:
            return Refusal("socket", "a socket of another program", hop.path)
        if node.device == _PTMX and node.type is EntryType.CHARACTER:
            return None if "devpts" in self.rules.mounts else Refusal("virtual", "devpts", hop.path)
        if node.type in (EntryType.FILE, EntryType.CHARACTER, EntryType.BLOCK):
            reason = self._denies(node)
            if reason:
                return Refusal("denied", reason, hop.path)
        return None

    def _denies(self, node: HostNode) -> str:
        """Why the policy, or the host, does not let a file or device come in; "" if it may."""
        start = self._start(node)
        verdict = judge(JailPath(node.path), node, start, self.rules.allows)
        if not verdict.allowed:
            return verdict.reason
        unread = node.type is EntryType.FILE and not start
        return CLOSED if unread and not may_read(self.host, node.path) else ""

    def _start(self, node: HostNode) -> bytes:
        return read_start(self.host, node.path, _START) if node.type is EntryType.FILE else b""

    # --- bringing --------------------------------------------------------------------------------------------

    def bring(self, found: Walk) -> bool:
        """Put the missing hops of a walk into the tree; whether there were any. The caller asked `refusal` first.

        Raises InputOutputError for what can't be read or written.
        """
        brought = False
        for hop in found.hops:
            if hop.missing:
                node = inspect(self.host, JailPath(hop.path))
                if node is not None and self.bring_one(node):
                    brought = True
        return brought

    def bring_one(self, node: HostNode) -> bool:
        path = node.path
        entry = self.bare(node)
        if self.on_paper:
            return self.supplied.setdefault(path, entry) is entry
        attributes = attributes_of(node, entry)
        try:
            match node.type:
                case EntryType.DIRECTORY:
                    jail_tree.make_directory(self.tree, path, attributes)
                    if self.watch:
                        self.watch.directory(path)
                case EntryType.SYMLINK:
                    jail_tree.make_symlink(self.tree, path, node.target, attributes)
                case EntryType.FILE:
                    entry = self._bring_file(node, entry, attributes)
                case _:
                    jail_tree.make_node(self.tree, path, node.type, node.device, replace(attributes, mtime_ns=None))
        except FileExistsError:
            return False  # another thread of the target made it in this moment
        self.supplied[path] = entry
        return True

    def _bring_file(self, node: HostNode, entry: Entry, attributes: Attributes) -> Entry:
        first = self.inodes.get(node.inode) if node.links > 1 else None
        if first is not None and first not in self.stand_ins:
            with contextlib.suppress(FileNotFoundError):
                jail_tree.make_hard_link(self.tree, node.path, first)
                known = self.supplied[first]
                return replace(entry, sha256=known.sha256, size=known.size, hard_link=first)
        source = self._source(entry)
        try:
            digest, size = jail_tree.make_file(self.tree, node.path, source, attributes)
        finally:
            os.close(source)
        if node.links > 1:
            self.inodes[node.inode] = node.path
        return replace(entry, sha256=digest, size=size)

    def _source(self, entry: Entry) -> int:
        source = open_source(self.host, entry.path)
        if entry.content is not Content.NSSWITCH:
            return source
        with open(source, "rb") as stream:
            text = with_bells(stream.read(_LARGEST_TEXT))
        memory = os.memfd_create("nsswitch.conf", os.MFD_CLOEXEC)
        os.pwrite(memory, text, 0)
        return memory

    def bare(self, node: HostNode) -> Entry:
        """The entry of a host object, without the reason for it."""
        is_file = node.type is EntryType.FILE
        mode = judge(JailPath(node.path), node, b"", self.rules.allows).mode if is_file else node.mode
        content = self.made.get(node.path, Content.HOST) if is_file else Content.HOST
        if content is Content.ACCOUNTS and self.rules.accounts_whole:
            content = Content.HOST
        return Entry(
            path=JailPath(node.path),
            type=node.type,
            mode=0o777 if node.type is EntryType.SYMLINK else mode,
            uid=node.uid,
            gid=node.gid,
            origin=Origin.MISS,
            size=node.size if is_file else 0,
            mtime_ns=node.mtime_ns if is_file and content is Content.HOST else 0,
            content=content,
            target=node.target,
            device=node.device,
            xattrs=xattrs(self.host, node.path) if is_file else (),
        )

    def fill(self, path: str, descriptor: int | None = None) -> Refusal | None:
        """Give the stand-in at a real path its bytes, before they are read; `descriptor` is it, open for writing, where
        the caller has it so. A file that the policy denies goes away instead, and the reason is given."""
        stand_in = self.stand_ins.pop(path, None)
        if stand_in is None:
            return None
        node = stand_in.node
        if self.watch and descriptor is None:
            self.watch.release(path)
        reason = self._denies(node)
        if reason:
            jail_tree.remove(self.tree, path)
            del self.supplied[path]
            self.shown.discard(path)
            return Refusal("denied", reason, path)
        entry = self.supplied[path]
        target = jail_tree.open_stand_in(self.tree, path, stand_in.inode) if descriptor is None else descriptor
        if target is None:
            return None
        source = self._source(entry)
        try:
            digest, size = jail_tree.fill(self.tree, path, target, source, entry.xattrs)
        finally:
            os.close(source)
            if descriptor is None:
                os.close(target)
        self.supplied[path] = replace(entry, sha256=digest, size=size)
        if path in self.ledger.entries:
            self.ledger.entries[path] = replace(self.ledger.entries[path], sha256=digest, size=size)
        return None

    # --- noting ----------------------------------------------------------------------------------------------

    def note(self, found: Walk, origin: Origin, because: Because | None, kind: MissKind | None, via: str = "") -> None:
        """All hops of a walk that are of the host were asked for."""
        for hop in found.hops:
            entry = self.supplied.get(hop.path)
            if entry is None or hop.path in self.ledger.entries or self._only_shown(hop.path, because):
                continue
            hop_kind = kind
            if hop.last:
                hop_origin = origin
                if origin is Origin.MISS and self._was_listed(hop.path):
                    hop_origin, hop_kind = Origin.LISTING, MissKind.LISTING
            else:
                hop_origin = Origin.SYMLINK if hop.type is EntryType.SYMLINK else Origin.PARENT
            self.shown.discard(hop.path)
            if self.watch:
                self.watch.used(hop.path)
            self.ledger.note(entry, hop_origin, because, hop_kind, hop.via or via)

    def _only_shown(self, path: str, because: Because | None) -> bool:
        """Whether a stand-in that was looked at, and not read so far, is nothing for the jail; it is listed as denied then."""
        stand_in = self.stand_ins.get(path)
        if stand_in is None:
            return False
        if path not in self.ledger.denied:
            reason = self._denies(stand_in.node)
            if not reason:
                return False
            if because is not None:
                self.ledger.denied[path] = PathNote(path, reason, because)
        return True

    def _was_listed(self, path: str) -> bool:
        return (path.rpartition("/")[0] or "/") in self.listed

    def asked_in_vain(self, record: SyscallRecord, database: str) -> None:
        """A program looked up an account that its passwd or group does not have."""
        self.ledger.unknown.add((record.program, database))
        known = {os.fsencode(name) for name in account_names(self.host)}
        for name in names_near(record.thread, record.architecture, known):
            self.ledger.wanted.add((database, os.fsdecode(name)))

    def put(self, entry: Entry) -> None:
        self.ledger.entries[entry.path] = entry
        if entry.path in self.supplied:
            return
        if self.on_paper:
            self.supplied[entry.path] = entry
            return
        attributes = Attributes(entry.mode, entry.uid, entry.gid)
        with contextlib.suppress(FileExistsError):
            if entry.type is EntryType.DIRECTORY:
                jail_tree.make_directory(self.tree, entry.path, attributes)
                if self.watch:
                    self.watch.directory(entry.path)
            else:
                jail_tree.make_node(self.tree, entry.path, entry.type, entry.device, attributes)
        self.supplied[entry.path] = entry


def attributes_of(node: HostNode, entry: Entry) -> Attributes:
    """What the object of the tree gets from that of the host and from its entry."""
    return Attributes(entry.mode, node.uid, node.gid, node.mtime_ns, entry.xattrs)
