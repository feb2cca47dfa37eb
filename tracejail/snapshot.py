"""What a family of running processes has now: programs, mapped and open files, ids, sockets. As paths of their root."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from tracejail.kernel.running import (
    Descriptor,
    Mapped,
    descriptors_of,
    family_of,
    identity_of,
    listens_of,
    live_thread,
    mapped_by,
    program_of,
)
from tracejail.model import SyscallRecord
from tracejail.trace.decode import link_of
from tracejail.trace.table import REROOTS

RING = "anon_inode:[io_uring]"   # a descriptor of io_uring(7), by which calls are made that nobody hears of


@dataclass(frozen=True, slots=True)
class Root:
    """The root directory of the process that is watched: as this process sees it, and which object it is."""

    path: str
    inode: tuple[int, int]

    def inner(self, path: str) -> str:
        """A path of ours as one from that root; "" for what lies elsewhere."""
        if self.path == "/" or not path:
            return path
        if path == self.path or path.startswith(self.path + "/"):
            return path[len(self.path) :] or "/"
        return ""

    def holds(self, process: int) -> bool:
        """Whether what a process calls a path is one beneath this root: not where it has another file system, as a process
        in a container has."""
        own = link_of(process, "root")
        if not own or own != self.path:
            return not own or bool(self.inner(own))
        try:
            return root_of(process) == self.inode
        except OSError:
            return True  # it has ended


@dataclass(slots=True)
class Members:
    """Which of the watched processes have their root directory at or beneath that of the first one."""

    root: Root
    whole: dict[int, bool] = field(default_factory=dict)

    def holds(self, record: SyscallRecord) -> bool:
        """Whether what the caller names is to be seen from that root."""
        process = record.process
        if record.syscall in REROOTS:
            self.forget(process)
        if process not in self.whole:
            self.whole[process] = self.root.holds(record.thread)
        return self.whole[process]

    def forget(self, process: int) -> None:
        """It is another one, or may have another root."""
        self.whole.pop(process, None)


def root_of(process: int) -> tuple[int, int]:
    """Which object a process has as its root directory. Raises OSError."""
    status = os.stat(f"/proc/{process}/root/")
    return status.st_dev, status.st_ino


def has_own_mounts(process: int) -> bool:
    """Whether it has another mount namespace than this process."""
    try:
        return os.readlink(f"/proc/{process}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    except OSError:
        return False


def opaque_words(program: str) -> str:
    """That a program makes calls which nobody hears of."""
    return f"opaque: {program} uses io_uring, and what it opens that way is not seen"


@dataclass(slots=True)
class Snapshot:
    """Each path with the program that had it first."""

    programs: dict[str, None] = field(default_factory=dict)
    mapped: dict[str, tuple[str, Mapped]] = field(default_factory=dict)
    opened: dict[str, tuple[str, Descriptor]] = field(default_factory=dict)
    directories: dict[str, str] = field(default_factory=dict)
    users: set[int] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    listens: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def take(self, first: int, root: Root) -> None:
        """Add what a process and its descendants have now."""
        for process in family_of(first):
            thread = live_thread(process)
            program = root.inner(program_of(thread))
            if program and root.holds(thread):
                self.programs[program] = None
                self._take_one(thread, program, root)
            self.take_ids(thread)

    def take_ids(self, thread: int) -> None:
        """Whom a process runs as."""
        identity = identity_of(thread)
        if identity is not None:
            self.users |= identity.users
            self.groups |= {identity.gid, *identity.groups}

    def _take_one(self, thread: int, program: str, root: Root) -> None:
        self.directories.setdefault(root.inner(link_of(thread, "cwd")), program)
        for mapped in mapped_by(thread):
            self.mapped.setdefault(root.inner(mapped.path), (program, mapped))
        for each in descriptors_of(thread):
            if each.path == RING:
                self.notes[opaque_words(program)] = None
            elif each.path.startswith("/") and not each.deleted:
                path = root.inner(each.path)
                known = self.opened.get(path)
                # One that writes counts: what is being written is not copied.
                if known is None or not known[1].flags & os.O_ACCMODE:
                    self.opened[path] = (program, each)
        for address in listens_of(thread):
            self.listens[address] = None
