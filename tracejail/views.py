"""A host root as the tree that doctor's rules look at: each question is asked once and its answer kept."""

from __future__ import annotations

import os
from functools import lru_cache

from tracejail.deps import closure_of
from tracejail.doctor.facts import Lost, Node, Program, Tree, Way
from tracejail.errors import InputOutputError
from tracejail.model import EntryType, JailPath
from tracejail.resolve.elf import ElfFacts, read_elf
from tracejail.resolve.host import HostRoot, inode_flags, inspect, names, open_directory, open_source, read_start
from tracejail.resolve.loader import read_cache
from tracejail.resolve.scripts import interpreter_line
from tracejail.trial.walk import Found, Place, walk

_MOST = 100_000        # answers that are kept of each kind
_COMPARED = 1 << 26    # bytes of two files that are compared
_LIBRARIES = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")


class View:
    """See doctor.facts.Tree."""

    def __init__(self, root: HostRoot) -> None:
        self.root = root
        self.elf: dict[str, ElfFacts | None] = {}
        self.node = lru_cache(_MOST)(self._node)
        self.names = lru_cache(_MOST)(self._names)
        self.program = lru_cache(_MOST)(self._program)
        self.lost = lru_cache(_MOST)(self._lost)
        self.needs = lru_cache(_MOST)(self._needs)
        self.everything = lru_cache(1)(self._everything)
        self.cache = lru_cache(1)(self._cache)

    def _node(self, path: str) -> Node | None:
        try:
            found = inspect(self.root, JailPath(path))
        except InputOutputError:
            return None
        if found is None:
            return None
        return Node(
            path, found.type, found.mode, found.uid, found.gid, found.size, found.target, found.device, found.virtual
        )

    def way(self, path: str, follow: bool = True, base: str = "/") -> Way:
        """Where a path leads."""

        def look(at: str) -> Found | None:
            node = self.node(at)
            return Found(node.type, node.target) if node else None

        walked = walk("/", base, path, follow, False, look, lambda _: None)
        # The root is passed first, and may be closed as any directory.
        passed = ("/", *(hop.path for hop in walked.hops if hop.path != "/"))
        hops = tuple(node for at in passed if (node := self.node(at)) is not None)
        if walked.place is Place.FOUND:
            return Way(self.node(walked.path), "", "", hops)
        if walked.place is Place.FAILS:
            loops = bool(hops) and hops[-1].type is EntryType.SYMLINK
            return Way(None, walked.path, "loop" if loops else "not-a-directory", hops)
        return Way(None, walked.path, "absent", hops)

    def _names(self, path: str) -> tuple[str, ...]:
        found = self.way(path).found
        if found is None or found.type is not EntryType.DIRECTORY:
            return ()
        try:
            return tuple(names(self.root, JailPath(found.path)))
        except InputOutputError:
            return ()

    def inode_flags(self, path: str) -> frozenset[str]:
        """Of the object at the end of a path."""
        found = self.way(path).found
        return inode_flags(self.root, JailPath(found.path)) if found is not None else frozenset()

    def start(self, path: str, limit: int = 65536) -> bytes:
        """The beginning of a regular file."""
        found = self.way(path).found
        return read_start(self.root, JailPath(found.path), limit) if found is not None else b""

    def same(self, path: str, other: Tree) -> bool:
        """Whether the bytes are the same, of the first 64 MiB."""
        here, there = self.way(path).found, other.way(path).found
        if here is None or there is None or here.size != there.size:
            return False
        return self.start(path, _COMPARED) == other.start(path, _COMPARED)

    def _program(self, path: str) -> Program:
        found = self.way(path).found
        if found is None or found.type is not EntryType.FILE or found.foreign:
            return Program("other")
        start = self.start(path, 4096)
        if not start:
            return Program("empty" if not found.size else "other")
        if start.startswith(b"\x7fELF"):
            try:
                if found.path not in self.elf:
                    with os.fdopen(open_source(self.root, JailPath(found.path)), "rb") as stream:
                        self.elf[found.path] = read_elf(stream)
            except InputOutputError:
                return Program("elf", whole=False)
            facts = self.elf[found.path]
            if facts is None:
                return Program("elf", whole=False)
            return Program("elf", facts.interpreter, facts.machine, facts.bits, facts.end <= found.size)
        interpreter = interpreter_line(start)
        if interpreter is not None:
            return Program("script", interpreter)
        return Program("other")

    def _lost(self, path: str) -> tuple[Lost, ...]:
        try:
            rows = closure_of(self.root, [path], self.elf)
        except InputOutputError:
            return ()
        return tuple(Lost(row.path, row.needed_by) for row in rows if not row.found and row.how == "elf-needed")

    def _needs(self, path: str) -> tuple[str, ...]:
        if self.program(path).kind not in ("elf", "script"):
            return ()  # a closure begins with the whole of ld.so.cache: 11 ms, and most of what is missed is data
        try:
            return tuple(dict.fromkeys(row.path for row in closure_of(self.root, [path], self.elf) if row.found))
        except InputOutputError:
            return ()

    def _cache(self) -> tuple[tuple[str, str], ...]:
        return tuple((row.soname, row.path) for row in read_cache(self.start("/etc/ld.so.cache", 1 << 24)))

    def cached(self, soname: str) -> tuple[str, ...]:
        """Of ld.so.cache."""
        return tuple(path for name, path in self.cache() if name == soname)

    def _everything(self) -> tuple[Node, ...]:
        found: list[Node] = []
        pending = ["/"]
        while pending and len(found) < _MOST:
            directory = pending.pop()
            for name in self._names(directory):
                node = self._node(f"{directory.rstrip('/')}/{name}")
                if node is not None and not node.foreign:
                    found.append(node)
                    if node.type is EntryType.DIRECTORY:
                        pending.append(node.path)
        return tuple(found)

    def beneath(self, root: str) -> View:
        """See doctor.facts.Tree; of what is no directory the whole."""
        try:
            return View(open_directory(self.root, JailPath(root)))
        except InputOutputError:
            return self

    def library(self, soname: str, like: str, want: Program) -> str:
        """By the cache first, as the loader does; then by the directories that such a file lies in."""
        places = [path for name, path in self.cache() if name == soname]
        if like:
            places.append(f"{os.path.dirname(like)}/{soname}")
        places += [f"{directory}/{soname}" for directory in _LIBRARIES]
        triples = [f"{above}/{name}" for above in ("/lib", "/usr/lib") for name in self.names(above) if "-linux-" in name]
        places += [f"{directory}/{soname}" for directory in triples]
        for place in places:
            if want.loads(self.program(place)):
                return place
        return ""
