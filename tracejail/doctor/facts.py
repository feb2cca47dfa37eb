"""What is known of a jail and of a run in it: the nouns that rules are about. Nothing here looks at a machine itself: the
two trees are handed in by the use case, and answer the same question in the same way each time."""

from __future__ import annotations

import errno
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from tracejail.model import EntryType, SyscallRecord, Want

from .held import Held

_SAID = 1 << 16   # bytes of what it said that are looked at
# A program that lives prints names for many reasons: where it complains of one it has missed something.
_COMPLAINS = re.compile(
    r"no such|can(?:not|n't|'t)|could(?: not|n't)|unable|fail|error|warn|missing|denied|invalid|lacks?\b|refus"
    r"|n[o']t (?:be |been )?(?:found|exist|available|open|load|read|access|permitted|configured)",
    re.IGNORECASE,
)
_OF_CALLER = frozenset(("PWD", "OLDPWD"))   # of the shell that called doctor
_OPENS, _EXECUTES = frozenset(("open", "openat", "openat2")), frozenset(("execve", "execveat"))
GONE = (-errno.ENOENT, -errno.ENOTDIR)
REFUSED = (-errno.EACCES, -errno.EPERM)


@dataclass(frozen=True, slots=True)
class Node:
    """An object of a tree, its last link not followed. `foreign` names the virtual file system that it is on (proc, sys,
    devpts...), "" for what lies on a disk or in memory."""

    path: str
    type: EntryType
    mode: int
    uid: int
    gid: int
    size: int = 0
    target: str = ""
    device: tuple[int, int] | None = None
    foreign: str = ""

    @property
    def standing(self) -> str:
        """Its mode and owner, as a line of evidence."""
        return f"{self.path}: mode {self.mode:04o}, owner {self.uid}:{self.gid}"


@dataclass(frozen=True, slots=True)
class Way:
    """A path followed to its end in one tree, as path_resolution(7) says. `found` is the object; where it is None, `stop` is
    the first path that is not there and `why` is absent, not-a-directory or loop. `hops` are all that was passed, links and
    directories, the last object with them."""

    found: Node | None
    stop: str
    why: str
    hops: tuple[Node, ...]

    @property
    def links(self) -> tuple[Node, ...]:
        """The symbolic links that were followed."""
        return tuple(hop for hop in self.hops if hop.type is EntryType.SYMLINK and hop is not self.found)

    @property
    def lead(self) -> str:
        """Where a way that ends nowhere was to lead: what the last link names, where that is not there; else `stop`."""
        if not self.links:
            return self.stop
        last = self.links[-1]
        named = posixpath.normpath(posixpath.join(posixpath.dirname(last.path), last.target))
        return named if f"{named}/".startswith(self.stop + "/") else self.stop


@dataclass(frozen=True, slots=True)
class Program:
    """What the kernel and the loader make of a file that is executed or loaded. `kind` is elf, script, empty or other."""

    kind: str
    interpreter: str = ""            # PT_INTERP, or the word after "#!"
    machine: str = ""                # of an ELF file: x86-64, i386, aarch64...
    bits: int = 0
    whole: bool = True               # its headers and segments are all in the file

    def loads(self, other: Program) -> bool:
        """Whether another file is a library that this one can load; what is no ELF file may be about to load any."""
        return other.kind == "elf" and (self.kind != "elf" or (other.machine, other.bits) == (self.machine, self.bits))


@dataclass(frozen=True, slots=True)
class Lost:
    """A library that the loader of the tree would not find for a program."""

    name: str
    needed_by: str


class Tree(Protocol):
    """A tree that is looked at, the jail's or the host's. Paths are absolute and as seen from its root."""

    def node(self, path: str) -> Node | None:
        """The object at a path, links before its last name followed."""

    def way(self, path: str, follow: bool = True, base: str = "/") -> Way:
        """Where a path leads."""

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory; () for none, and where it is none."""

    def inode_flags(self, path: str) -> frozenset[str]:
        """Of immutable and append-only (chattr(1)) those that an object has, its links followed."""

    def start(self, path: str, limit: int = 65536) -> bytes:
        """The beginning of a regular file, its links followed; b"" where there is none."""

    def same(self, path: str, other: Tree) -> bool:
        """Whether a regular file has the same bytes in another tree."""

    def program(self, path: str) -> Program:
        """What a file is for execve(2) and the loader."""

    def lost(self, path: str) -> tuple[Lost, ...]:
        """The libraries that a program lacks, by the tree's own loader rules."""

    def needs(self, path: str) -> tuple[str, ...]:
        """All files, and links to them, that a program needs by what its own files say: interpreters and libraries."""

    def cached(self, soname: str) -> tuple[str, ...]:
        """The paths that the tree's ld.so.cache has for a library."""

    def everything(self) -> tuple[Node, ...]:
        """All objects of the tree on its own file systems, in no order that matters; of a huge one as many as are kept."""

    def beneath(self, root: str) -> Tree:
        """The tree as a process sees it that made a directory of it its root."""

    def library(self, soname: str, like: str, want: Program) -> str:
        """Where the tree's loader finds a library for a program at `like`, which need not be in this tree: `want` says what it
        is. "" where it does not."""


@dataclass(frozen=True, slots=True)
class JailMount:
    """A mount at or beneath the jail's root, as mountinfo (proc_pid_mountinfo(5)) has it; `path` as seen from the jail."""

    path: str
    type: str
    flags: frozenset[str]            # ro, nosuid, nodev, noexec
    source: str = ""
    full: str = ""                   # what there is no more of: space, inodes


@dataclass(frozen=True, slots=True)
class State:
    """What the kernel would judge a thread by, at the moment of a call that it refused."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: frozenset[int]     # effective
    seccomp: int                     # 0, or 2 for a filter
    no_new_privs: bool
    limits: tuple[tuple[str, str], ...]   # name and soft limit of /proc/PID/limits
    label: str = ""                  # of a security module that confines it, as /proc/PID/attr/current has it


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the run: what failed, and what of the rest a rule may need. `order` counts all that were heard of; `path` is
    the last that it names, from the jail's root, `..` and links kept, "" where it names none."""

    order: int
    record: SyscallRecord
    path: str = ""
    phase: str = "start"
    state: State | None = None       # of a call that was refused (EACCES, EPERM), or that met a limit
    count: int = 1                   # how often the same call had the same result

    @property
    def result(self) -> int:
        return self.record.result

    @property
    def name(self) -> str:
        return self.record.syscall

    @property
    def failed(self) -> bool:
        return self.record.result < 0

    @property
    def opens(self) -> bool:
        return self.name in _OPENS

    @property
    def executes(self) -> bool:
        return self.name in _EXECUTES


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a process: its program, and the status as a shell has it (128 and the signal)."""

    process: int
    program: str
    status: int


@dataclass(frozen=True)
class RunFacts:
    """A run in the jail: its calls in their order and how it ended."""

    calls: tuple[Call, ...]
    words: str                       # how it ended
    healthy: bool                    # it ended, or served, as it should
    failure: str = ""                # why not, where that is not its status
    output: bytes = b""
    errors: bytes = b""
    log: bytes = b""                 # what it said to the system log
    exercise: bytes = b""            # what a failed exercise said
    listens: tuple[str, ...] = ()
    ends: tuple[Ended, ...] = ()
    clipped: bool = False            # there were more calls than are kept
    listened: bool = True            # its calls were heard

    @cached_property
    def said(self) -> str:
        """What it said, to whomever: the end of each."""
        parts = (self.errors, self.output, self.log, self.exercise, self.failure.encode("utf-8", "surrogateescape"))
        return b"\n".join(part[-_SAID:] for part in parts).decode("utf-8", "surrogateescape")

    @cached_property
    def results(self) -> dict[str, set[int]]:
        """Of each path that was asked for the results, 0 for what went well."""
        found: dict[str, set[int]] = {}
        for call in self.calls:
            if call.path:
                found.setdefault(call.path, set()).add(min(call.result, 0))
        return found

    @cached_property
    def opened(self) -> frozenset[str]:
        """The paths of what was opened or executed."""
        return frozenset(
            call.path for call in self.calls if not call.failed and (call.opens or call.executes) and call.path
        )

    @cached_property
    def complaints(self) -> str:
        """The lines of that in which it complains."""
        return "\n".join(line for line in self.said.splitlines() if _COMPLAINS.search(line))

    @cached_property
    def failures(self) -> tuple[tuple[int, ...], ...]:
        """Of each process that ended badly the calls that failed, by their order."""
        by_process: dict[int, list[int]] = {end.process: [] for end in self.ends if end.status}
        for call in self.calls:
            if call.failed and call.record.process in by_process:
                by_process[call.record.process].append(call.order)
        return tuple(map(tuple, by_process.values()))


@dataclass(frozen=True)
class Facts:
    """All that rules look at; `run` is None where nothing was run. Of a process that runs already `held` is there, and `run`
    is a part out of the middle: its program and its libraries have been loaded, its configuration read."""

    jail: Tree
    host: Tree
    argv: tuple[str, ...]            # () where no program is named
    program: str                     # the path that would be executed; "" where PATH leads nowhere
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    search: tuple[str, ...] = ()     # PATH of the environment
    environment: tuple[tuple[str, str], ...] = ()
    directory: str = "/"
    machine: str = "x86-64"          # of the kernel
    mounts: tuple[JailMount, ...] = ()
    run: RunFacts | None = None
    outside: RunFacts | None = None  # the same command with the whole host as its root; all calls that name a path
    harmless: Callable[[str], str | None] = lambda _: None   # why it does not matter that a path is absent
    secret: Callable[[str, bytes], str | None] = lambda _, __: None   # why a file, by place and beginning, should stay outside
    withheld: frozenset[int] = frozenset()    # capabilities that doctor's own trial does not give
    programs: tuple[str, ...] = ()   # executable files of the jail, where none is named
    held: Held | None = None

    def dangles(self, path: str, way: Way) -> bool:
        """Whether a path of the jail that leads nowhere does so by a link: not one that leads to where its own name would be,
        as /bin does."""
        if not way.links or way.found is not None:
            return False
        return self.jail.node(path) is not None or posixpath.basename(way.lead) != posixpath.basename(path)

    def calls(self) -> Iterator[Call]:
        """Those of the run in the jail."""
        yield from self.run.calls if self.run else ()

    @cached_property
    def left_over(self) -> frozenset[str]:
        """Paths that are known from the environment of doctor's caller alone, and that a shell looks for."""
        return frozenset(value for name, value in self.environment if name in _OF_CALLER)

    @cached_property
    def asked_outside(self) -> frozenset[str]:
        """What the run outside asked for: the paths, what they lead to, and all directories above."""
        found: set[str] = set()
        for path in self.outside.results if self.outside else ():
            for passed in (path, *(hop.path for hop in self.host.way(path).hops)):
                while passed and passed not in found:
                    found.add(passed)
                    passed = passed.rpartition("/")[0]
        return frozenset(found | {"/"})

    def settled(self, path: str) -> str:
        """Where a path lies in the jail, whether it is there or not: the links above it are followed."""
        at, rest = posixpath.normpath(path), ""
        while (found := self.jail.way(at).found) is None and at != "/":
            at, rest = posixpath.dirname(at), f"/{posixpath.basename(at)}{rest}"
        return f"{found.path.rstrip('/') if found is not None else ''}{rest}" or "/"

    @cached_property
    def made(self) -> dict[str, tuple[int, int]]:
        """What the program made, with the orders of the first and the last call by which it did."""
        found: dict[str, tuple[int, int]] = {}
        for call in self.calls():
            if not call.failed and call.path and call.record.arguments[-1].want is Want.CREATE:
                path = self.settled(call.path)
                found[path] = (found.get(path, (call.order, 0))[0], call.order)
        return found

    def mount_of(self, path: str) -> JailMount | None:
        """The mount that a path of the jail lies on; None where the mounts are not known."""
        real = self.jail.way(path).found
        place = real.path if real is not None else path
        beneath = [mount for mount in self.mounts if mount.path == "/" or f"{place}/".startswith(mount.path + "/")]
        return max(beneath, key=lambda mount: len(mount.path), default=None)

    def failed(self, *numbers: int) -> Iterator[Call]:
        """Those that failed, with one of these results where any are given."""
        for call in self.calls():
            if call.failed and (not numbers or call.result in numbers):
                yield call
