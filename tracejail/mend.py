"""The actions of a remedy, done to a tree; the policy decides here too what of the host may come in."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby

from tracejail.doctor.finding import Action, Kind
from tracejail.errors import InputOutputError
from tracejail.jail import tree as jail_tree
from tracejail.jail.tree import Attributes, Tree
from tracejail.model import EntryType, JailPath, TrialOptions
from tracejail.resolve.elf import read_elf
from tracejail.resolve.host import HostNode, HostRoot, glob, inspect, names, open_source, read_start
from tracejail.resolve.loader import CacheLibrary, write_cache
from tracejail.resolve.policy import judge
from tracejail.trial.supply import Supply
from tracejail.trial.target import new_supply, rules_of
from tracejail.trial.walk import Place, join

_START = 65536          # bytes of a file that may be a key
_LINE_LIMIT = 1 << 24   # bytes of a file that gets a line more
_DEFAULT = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
# Flags of ld.so.cache (glibc's sysdeps/generic/ldconfig.h): FLAG_ELF_LIBC6, and the machine's.
_FLAGS = {("x86-64", 64): 0x0303, ("i386", 32): 0x0003, ("aarch64", 64): 0x0A03}


@dataclass(slots=True)
class Mender:
    """A tree that is mended from a host root."""

    host: HostRoot
    tree: Tree
    options: TrialOptions
    notes: dict[str, None] = field(default_factory=dict)    # what could not be done

    def mend(self, actions: Iterable[Action]) -> None:
        """Do them in their order. Raises InputOutputError."""
        for (root, of_jail), there in groupby(actions, key=lambda action: (action.root, action.of_jail)):
            host = HostRoot(self.host.path, self.tree.fd) if of_jail else self.host
            if root:
                self._within(host, root, [replace(action, root="", of_jail=False) for action in there])
            else:
                self._mend(there)

    def _within(self, host: HostRoot, root: str, actions: list[Action]) -> None:
        """In a directory that a program takes for its root."""
        try:
            descriptor = jail_tree.find(self.tree, root)
        except OSError as error:
            raise InputOutputError(f"{root}: {os.strerror(error.errno or 0)} in the jail", "it changed meanwhile") from None
        try:
            inner = jail_tree.open_tree(descriptor, self.tree.name, self.tree.in_memory)
            Mender(host, inner, self.options, self.notes).mend(actions)
        finally:
            os.close(descriptor)

    def _mend(self, actions: Iterable[Action]) -> None:
        supply = new_supply(self.host, self.tree, rules_of(self.options, frozenset(("proc", "sys", "devpts"))))
        supply.made = {}  # whole files: what of them is needed is learn's affair
        pending = list(actions)
        for number, action in enumerate(pending):
            # What is taken away for a copy of the host's stays where that may not come in.
            after = pending[number + 1 : number + 2] if action.kind is Kind.REMOVE else []
            if not any(each.kind is Kind.COPY and self._refused(each.source or each.path) for each in after):
                self._do(supply, action)

    def _refused(self, path: str) -> bool:
        """Whether a file of the host may not come in; that is noted."""
        node = inspect(self.host, JailPath(path))
        if node is None or node.type is not EntryType.FILE:
            return False
        verdict = judge(JailPath(path), node, read_start(self.host, JailPath(path), _START), self.options.allows)
        if not verdict.allowed:
            self.notes[f"{path} was not brought: {verdict.reason} (--allow {path})"] = None
        return not verdict.allowed

    def _copy_as(self, supply: Supply, source: str, place: str) -> None:
        """From another place of the host's than that which it gets in the tree; a directory with all beneath it."""
        self._directories_to(supply, posixpath.dirname(place))
        pending = [(source, place)]
        while pending:
            at, to = pending.pop()
            node = inspect(self.host, JailPath(at))
            if node is None or node.virtual or self._refused(at):
                continue
            if jail_tree.look(self.tree, to) is None:
                self._make(node, to)
            if node.type is EntryType.DIRECTORY:
                pending += [(join(at, name), join(to, name)) for name in names(self.host, JailPath(at))]

    def _make(self, node: HostNode, place: str) -> None:
        attributes = Attributes(node.mode & 0o1777, node.uid, node.gid)
        if node.type is EntryType.DIRECTORY:
            jail_tree.make_directory(self.tree, place, attributes)
        elif node.type is EntryType.SYMLINK:
            jail_tree.make_symlink(self.tree, place, node.target, attributes)
        elif node.type is EntryType.FILE:
            descriptor = open_source(self.host, node.path)
            try:
                jail_tree.make_file(self.tree, place, descriptor, attributes, digest=False)
            finally:
                os.close(descriptor)

    def _directories_to(self, supply: Supply, path: str) -> None:
        """The directory and those above it that the tree lacks."""
        above = ""
        for part in path.strip("/").split("/") if path != "/" else ():
            above += "/" + part
            place = self._place(supply, above)
            if jail_tree.look(self.tree, place) is None:
                jail_tree.make_directory(self.tree, place, Attributes(0o755, 0, 0))

    def _do(self, supply: Supply, action: Action) -> None:
        place = self._place(supply, action.path)
        match action.kind:
            case Kind.COPY | Kind.TREE if action.source:
                self._copy_as(supply, action.source, place)
            case Kind.COPY:
                self._copy(supply, action.path)
            case Kind.TREE:
                self._copy_tree(supply, action.path)
            case Kind.DIRECTORY:
                self._directory(place, action)
            case Kind.DEVICE if jail_tree.look(self.tree, place) is None:
                attributes = Attributes(action.mode, action.uid, action.gid)
                jail_tree.make_node(self.tree, place, EntryType.CHARACTER, action.device, attributes)
            case Kind.LINK if jail_tree.look(self.tree, place) is None:
                jail_tree.make_symlink(self.tree, place, action.text, Attributes(0o777, action.uid, action.gid))
            case Kind.MODE:
                self._set(place, lambda path: os.chmod(path, action.mode))
            case Kind.OWNER:
                self._set(place, lambda path: os.chown(path, action.uid, action.gid))
            case Kind.REMOVE:
                jail_tree.remove(self.tree, place)
            case Kind.LINE:
                self._line(place, action.text)
            case Kind.CACHE:
                self._cache(supply)
            case Kind.MOUNT:
                self._directories_to(supply, action.path)  # to be mounted on: who starts the program makes the mount
            case Kind.CHANGEABLE:
                self.notes[f"{action.path} is left as it is: chattr(1) is for whoever made it so"] = None
            case _:
                pass

    def _place(self, supply: Supply, path: str) -> str:
        """The path with the links of the tree on the way to it followed."""
        above = supply.resolve("/", "/", posixpath.dirname(path.rstrip("/")) or "/", follow=True)
        return join(above.path, posixpath.basename(path)) if above.place is Place.FOUND and above.trial else path

    def _copy(self, supply: Supply, path: str) -> None:
        found = supply.resolve("/", "/", path, follow=False)
        if found.place is not Place.FOUND:
            return
        refusal = supply.refusal(found)
        if refusal is not None:
            self.notes[f"{refusal.path} was not brought: {refusal.reason} (--allow {refusal.path})"] = None
            return
        supply.bring(found)

    def _copy_tree(self, supply: Supply, path: str) -> None:
        pending = [path]
        while pending:
            at = pending.pop()
            self._copy(supply, at)
            node = inspect(self.host, JailPath(at))
            if node is not None and node.type is EntryType.DIRECTORY and not node.virtual:
                pending += [join(at, name) for name in names(self.host, JailPath(at))]

    def _directory(self, place: str, action: Action) -> None:
        attributes = Attributes(action.mode, action.uid, action.gid)
        if jail_tree.look(self.tree, place) is None:
            jail_tree.make_directory(self.tree, place, attributes)

    def _set(self, place: str, change: Callable[[str], None]) -> None:
        try:
            descriptor = jail_tree.open_path(self.tree, place)
        except OSError as error:
            raise InputOutputError(f"{place}: {os.strerror(error.errno or 0)} in the jail", "it changed meanwhile") from None
        try:
            change(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    def _line(self, place: str, text: str) -> None:
        before, attributes = b"", Attributes(0o644, 0, 0)
        descriptor = jail_tree.open_file(self.tree, place)
        if descriptor is not None:
            with open(descriptor, "rb") as stream:
                before, status = stream.read(_LINE_LIMIT), os.fstat(stream.fileno())
            attributes = Attributes(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            jail_tree.remove(self.tree, place)
        end = b"" if not before or before.endswith(b"\n") else b"\n"
        jail_tree.make_file(self.tree, place, before + end + os.fsencode(text) + b"\n", attributes, digest=False)

    def _cache(self, supply: Supply) -> None:
        """As ldconfig(8) would make it, of the directories that it knows."""
        rows: dict[tuple[str, str], CacheLibrary] = {}
        jail = HostRoot(self.host.path, self.tree.fd)
        for directory in _directories(jail):
            real = supply.resolve("/", "/", directory, follow=True)
            for name in names(jail, JailPath(real.path)) if real.place is Place.FOUND and real.trial else ():
                if ".so" in name:
                    self._add(jail, directory, real.path, name, rows)
        place = self._place(supply, "/etc/ld.so.cache")
        jail_tree.remove(self.tree, place)
        if jail_tree.look(self.tree, posixpath.dirname(place)) is None:
            jail_tree.make_directory(self.tree, posixpath.dirname(place), Attributes(0o755, 0, 0))
        jail_tree.make_file(self.tree, place, write_cache(list(rows.values())), Attributes(0o644, 0, 0), digest=False)

    def _add(
        self, jail: HostRoot, directory: str, real: str, name: str, rows: dict[tuple[str, str], CacheLibrary]
    ) -> None:
        descriptor = jail_tree.open_file(self.tree, join(real, name))
        if descriptor is None:
            return
        with open(descriptor, "rb") as stream:
            facts = read_elf(stream)
        flags = _FLAGS.get((facts.machine, facts.bits)) if facts is not None else None
        if facts is not None and flags is not None:
            soname = facts.soname or name
            if inspect(jail, JailPath(join(real, soname))) is not None or soname == name:
                rows.setdefault((soname, facts.machine), CacheLibrary(soname, join(directory, soname), flags))


def _directories(jail: HostRoot) -> list[str]:
    """Those of ld.so.conf(5) with its includes, then the default ones."""

    def is_directory(path: str) -> bool:
        node = inspect(jail, JailPath(path))
        return node is not None and node.type is EntryType.DIRECTORY

    found: dict[str, None] = {}
    pending = ["/etc/ld.so.conf"]
    seen: set[str] = set()
    while pending:
        path = pending.pop(0)
        if path in seen:
            continue
        seen.add(path)
        for line in os.fsdecode(read_start(jail, JailPath(path), 1 << 16)).splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["include"] and len(words) > 1:
                pending += glob(jail, posixpath.join(posixpath.dirname(path), words[1]))
            elif words and words[0].startswith("/"):
                found[words[0]] = None
    for directory in _DEFAULT:
        # The loader itself has such a name, too.
        found.update(dict.fromkeys((*filter(is_directory, glob(jail, f"{directory}/*-linux-*")), directory)))
    return list(found)
