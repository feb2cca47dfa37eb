"""What is known of a jail: the nouns that audit's rules are about. All of it is gathered before the first rule is asked, so
that rules open nothing."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tracejail.model import Entry, EntryType, Manifest

from .advisory import Package, Vulnerability
from .remedy import quoted
from .table import Tool

_MOST_LINKS = 40
CODE = frozenset(("program", "library", "script"))


@dataclass(frozen=True, slots=True)
class Known:
    """A tool that a file was recognised as, and how."""

    tool: Tool
    how: str
    applets: tuple[str, ...] = ()    # those that are inside a multi-call binary


@dataclass(frozen=True, slots=True)
class Contents:
    """What the bytes of a regular file say. `kind` is program, library, core, object, script or "" for all else."""

    kind: str = ""
    interpreter: str = ""            # of a script
    known: tuple[Known, ...] = ()
    secret: str = ""                 # why it should not be here
    hashes: tuple[str, ...] = ()     # accounts whose password hash it holds
    open: tuple[str, ...] = ()       # accounts that want no password, of a file like passwd(5)
    loads: tuple[str, ...] = ()      # what the loader is to load into each program, of ld.so.preload(8)
    stale: bool = False              # the host has other bytes at this path, of an ELF file
    odd: bool = False                # an ELF file whose first bytes say what it is not
    unread: str = ""                 # why it was not looked at whole
    limit: bool = False              # because there is more of it than audit looks at


@dataclass(frozen=True, slots=True)
class Grant:
    """A line of an access control list that lets one user or group write."""

    user: int = -1
    group: int = -1


@dataclass(frozen=True, slots=True)
class Item:
    """An object of the jail. `foreign` names a virtual file system that it is on."""

    path: str
    type: EntryType
    mode: int
    uid: int
    gid: int
    size: int = 0
    target: str = ""
    device: tuple[int, int] | None = None
    inode: tuple[int, int] = (0, 0)
    links: int = 1
    foreign: str = ""
    capabilities: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    contents: Contents = Contents()

    @property
    def standing(self) -> str:
        """Mode and owner, as a line of evidence."""
        return f"{self.path}: mode {self.mode:04o}, owner {self.uid}:{self.gid}"

    @property
    def is_code(self) -> bool:
        return self.contents.kind in CODE


@dataclass(frozen=True, slots=True)
class Daemon:
    """Whom the jail is for."""

    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount at or beneath the jail, `path` as seen from it. `root` is what of its file system shows there; `shared`: the
    host has the same file system elsewhere too."""

    path: str
    type: str
    flags: frozenset[str]
    source: str = ""
    root: str = "/"
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Above:
    """A directory on the way to the jail, or the jail itself: a path of the host."""

    path: str
    uid: int
    mode: int


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens on a socket of the jail from outside of it."""

    path: str
    process: int
    program: str


@dataclass(frozen=True, slots=True)
class Unseen:
    """A place that was not looked into, or a path that was not looked at. `limit`: because there is more than audit looks at."""

    path: str
    why: str
    remedy: str
    limit: bool = False


@dataclass(frozen=True)
class Facts:
    """All that rules look at."""

    jail: str                                  # its real path
    items: tuple[Item, ...]                    # without the root
    manifest: Manifest | None = None
    manifest_path: str = ""
    daemon: Daemon | None = None               # None: not known, so each user but root may be it
    mounts: tuple[Mounted, ...] = ()
    above: tuple[Above, ...] = ()
    listeners: tuple[Listener, ...] = ()
    on_root: bool = False                      # it lies on the file system of the host's root directory
    on_host: frozenset[str] = frozenset()      # of the targets of links those that the host has
    packages: tuple[Package, ...] = ()
    advisories: Mapping[str, tuple[Vulnerability, ...]] = field(default_factory=dict)
    clipped: tuple[Unseen, ...] = ()           # what was not looked into

    @cached_property
    def by_path(self) -> dict[str, Item]:
        return {item.path: item for item in self.items}

    @cached_property
    def files(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.type is EntryType.FILE)

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Of the manifest."""
        return {entry.path: entry for entry in self.manifest.entries} if self.manifest else {}

    @cached_property
    def written(self) -> tuple[str, ...]:
        """The places that the manifest has as written."""
        return tuple(place.path for place in self.manifest.written) if self.manifest else ()

    @cached_property
    def names(self) -> dict[tuple[int, int], list[str]]:
        """The names of each file that has more than one link."""
        found: dict[tuple[int, int], list[str]] = {}
        for item in self.files:
            if item.links > 1:
                found.setdefault(item.inode, []).append(item.path)
        return found

    @cached_property
    def links_to(self) -> dict[str, list[str]]:
        """The symbolic links that lead to each object in the end."""
        found: dict[str, list[str]] = {}
        for item in self.items:
            if item.type is EntryType.SYMLINK and (end := self.end(item.path)) is not None:
                found.setdefault(end.path, []).append(item.path)
        return found

    def end(self, path: str) -> Item | None:
        """Where a path leads for a process in the jail; None for nowhere, and for the root."""
        parts, at, followed = [part for part in reversed(path.split("/")) if part], "", 0
        while parts:
            part = parts.pop()
            if part in (".", ".."):
                at = posixpath.dirname(at).rstrip("/") if part == ".." else at
                continue
            at = f"{at}/{part}"
            item = self.by_path.get(at)
            if item is None:
                return None
            if item.type is EntryType.SYMLINK:
                followed += 1
                if followed > _MOST_LINKS:
                    return None
                parts += [each for each in reversed(item.target.split("/")) if each]
                at = "" if item.target.startswith("/") else posixpath.dirname(at).rstrip("/")
        return self.by_path.get(at)

    def mount_of(self, path: str) -> Mounted | None:
        """The mount that a path lies on; None where the mounts are not known."""
        holding = [mount for mount in self.mounts if mount.path == "/" or f"{path}/".startswith(f"{mount.path}/")]
        return max(holding, key=lambda mount: len(mount.path), default=None)

    def is_mounted(self, path: str, flag: str) -> bool:
        """Whether what a path lies on is mounted with a flag, as nosuid."""
        mount = self.mount_of(path)
        return mount is not None and flag in mount.flags

    def is_written(self, path: str) -> bool:
        """Whether the manifest has a path as one that the program writes to, or as beneath one."""
        return any(path == place or place == "/" or path.startswith(f"{place}/") for place in self.written)

    def writer(self, item: Item) -> str:
        """Who of those that an intruder may be can write to an object, all users left out; "" for nobody."""
        daemon = self.daemon
        if daemon is not None:
            if item.uid == daemon.uid and item.uid:
                return f"user {item.uid}, whom the program runs as, owns it"
            if item.mode & 0o020 and item.gid in daemon.groups and item.gid:
                return f"group {item.gid}, which the program runs with, may write to it"
            if any(grant.user == daemon.uid or grant.group in daemon.groups for grant in item.grants):
                return "an access control list lets the program's user write to it"
            return ""
        if item.uid:
            return f"user {item.uid} owns it"
        if item.mode & 0o020 and item.gid:
            return f"group {item.gid} may write to it"
        return "an access control list lets others than root write to it" if item.grants else ""

    def above_of(self, path: str) -> Iterator[Item]:
        """The directories above a path, the nearest first; without the root."""
        while (path := posixpath.dirname(path)) != "/":
            if (item := self.by_path.get(path)) is not None:
                yield item

    def quoted(self, *paths: str) -> str:
        """Paths of the jail as words for a shell outside."""
        return " ".join(quoted(f"{self.jail.rstrip('/')}{path}") for path in paths)

    def need(self, paths: Iterable[str]) -> tuple[str, ...]:
        """As lines of evidence, why the manifest has a path."""
        for path in paths:
            entry = self.entries.get(path)
            if entry is not None:
                who = f", by {entry.because.program}" if entry.because is not None else ""
                return (f"the manifest has {path}: {entry.origin.value}{who}",)
        return ()
