"""Hearing of the use of what a trial only shows: opens by fanotify(7), looks by the miss-only engine.

A file that is shown is a stand-in without bytes; the thread that opens it waits in the kernel until it is filled here. A
directory is stocked with the host's names in the same way, before its first reader gets it. Whoever works on the trial
in this process must not open what is marked: it would wait for itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tracejail.errors import IncompleteError
from tracejail.jail.tree import Tree, open_path
from tracejail.kernel import fanotify
from tracejail.model import EntryType
from tracejail.trace.session import Session

_NO_ROOM = (errno.ENOSPC, errno.ENOMEM, errno.E2BIG)


@dataclass(slots=True)
class StandIns:
    """What is watched in one trial tree, by inode number, and who waits for what."""

    tree: Tree
    session: Session
    files_group: int           # two groups: an event's descriptor is writable for files, and can't be so for directories
    directories_group: int
    files: dict[int, str] = field(default_factory=dict)
    directories: dict[int, str] = field(default_factory=dict)
    inodes: dict[str, int] = field(default_factory=dict)     # of all that is shown and not used
    denied: set[int] = field(default_factory=set)            # threads whose open was refused, as the file is none for them

    def directory(self, path: str) -> None:
        """A directory came into the tree: hear of its first open, and of its first reading."""
        fd = open_path(self.tree, path)
        try:
            self.directories[os.fstat(fd).st_ino] = path
            fanotify.mark(self.directories_group, fd, directory=True)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise IncompleteError(
                f"{path}: the kernel has no room for another fanotify mark", "take --engine seccomp, which needs none"
            ) from None
        finally:
            os.close(fd)

    def shown(self, path: str, inode: int, kind: EntryType) -> bool:
        """Something is shown: hear of looks at it, and of its open. False if a file is to be filled at once, since its
        open can't be heard of."""
        self.inodes[path] = inode
        special = kind not in (EntryType.FILE, EntryType.DIRECTORY, EntryType.SYMLINK)
        heard = True
        if kind is EntryType.FILE:
            fd = open_path(self.tree, path)
            try:
                fanotify.mark(self.files_group, fd, directory=False)
                self.files[inode] = path
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                heard, special = False, True
            finally:
                os.close(fd)
        try:
            self.session.stand_in(inode, special)
        except OSError:
            raise IncompleteError(
                f"more than {len(self.inodes)} names were listed and not used", "show fewer of a directory: --max-names N"
            ) from None
        return heard

    def used(self, path: str) -> None:
        """It belongs to the jail now: looks at it are of no more interest. Its open is, until it is filled."""
        inode = self.inodes.pop(path, None)
        if inode is not None:
            self.session.settled(inode)

    def release(self, path: str) -> None:
        """This process is about to open it."""
        with contextlib.suppress(OSError):
            fd = open_path(self.tree, path)
            try:
                if self.files.pop(os.fstat(fd).st_ino, None) is not None:
                    fanotify.unmark(self.files_group, fd, fanotify.OPEN)
            finally:
                os.close(fd)

    def serve_files(self, fill: Callable[[str, int], bool]) -> None:
        """Answer the opens of files that wait; `fill` is given path and descriptor, and says whether the file may be."""
        for event in fanotify.read_events(self.files_group):
            inode = os.fstat(event.descriptor).st_ino
            path = self.files.get(inode)
            allowed = True
            try:
                if path is not None:
                    allowed = fill(path, event.descriptor)
                    if event.thread in self.session.threads:
                        if not allowed:
                            self.denied.add(event.thread)
                        if not allowed or path in self.inodes:
                            self.session.tell(event.thread)
                        del self.files[inode]
                        fanotify.unmark(self.files_group, event.descriptor, fanotify.OPEN)
            finally:
                fanotify.answer(self.files_group, event, allowed)

    def serve_directories(self, stock: Callable[[str], None]) -> None:
        """Answer the opens and readings of directories that wait; only the target's own count."""
        for event in fanotify.read_events(self.directories_group):
            inode = os.fstat(event.descriptor).st_ino
            path = self.directories.get(inode)
            try:
                if path is not None and event.thread in self.session.threads:
                    if event.mask & fanotify.OPEN:
                        stock(path)
                    if event.mask & fanotify.READ or path in self.inodes:
                        self.session.tell(event.thread)
                    which = event.mask & (fanotify.OPEN | fanotify.READ)
                    fanotify.unmark(self.directories_group, event.descriptor, which)
            finally:
                fanotify.answer(self.directories_group, event, True)


@contextlib.contextmanager
def stand_ins(tree: Tree, session: Session) -> Iterator[StandIns]:
    """Watch a trial tree for the while of the block. Raises OSError where fanotify is refused."""
    with contextlib.ExitStack() as stack:
        files, directories = fanotify.open_group(writable=True), fanotify.open_group(writable=False)
        stack.callback(os.close, files)
        stack.callback(os.close, directories)
        watch = StandIns(tree, session, files, directories)
        watch.directory("/")
        stack.callback(session.forget)
        yield watch
