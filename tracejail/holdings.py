"""What a family of running processes holds of its root directory: the facts of doctor's rules about what runs already."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass, field

from tracejail.doctor.held import Held, Loaded, Opened, Talk
from tracejail.doctor.running import LOG
from tracejail.kernel.paths import IN_ROOT, NO_MAGICLINKS, openat2
from tracejail.kernel.running import descriptors_of, family_of, live_thread, mapped_by, program_of
from tracejail.kernel.unix_sockets import is_listened_to, peers_of
from tracejail.model import TYPES
from tracejail.snapshot import RING, Root

_LIBRARY = re.compile(r"\.so(\.[\w.+-]+)?$")
_MOST_LOGS, _SAID = 64, 1 << 16   # files that are followed; bytes of each that are read


def held_by(process: int, root: Root, descriptor: int) -> Held:
    """All that a process and its descendants have now; `descriptor` is of the root."""
    gone = os.fstat(descriptor).st_nlink == 0
    opened: list[Opened] = []
    loaded: dict[tuple[str, str], Loaded] = {}
    talks: list[Talk] = []
    for each in family_of(process):
        thread = live_thread(each)
        exe = program_of(thread)
        if not exe or not root.holds(thread):
            continue
        program = root.inner(exe) or exe
        for mapped in mapped_by(thread):
            path = root.inner(mapped.path)
            if path and not mapped.written and (mapped.path == exe or _LIBRARY.search(path)):
                loaded[program, path] = Loaded(program, path, mapped.deleted)
        for one in descriptors_of(thread):
            if one.path.startswith("/") and stat.S_IFMT(one.mode) in TYPES:
                path = root.inner(one.path)
                opened.append(Opened(
                    program, one.number, path or one.path, not path, TYPES[stat.S_IFMT(one.mode)], one.flags, one.size,
                    one.deleted,
                ))
        for peer in peers_of(thread):
            path = root.inner(peer.path) if peer.path.startswith("/") else ""
            talks.append(Talk(program, each, peer.descriptor, peer.path, path, peer.datagrams, peer.gone))
    places = {LOG, *(talk.path for talk in talks if talk.path)}
    silent = frozenset(place for place in places if _is_silent(descriptor, place))
    return Held(process, "" if gone else root.path, tuple(opened), tuple(loaded.values()), tuple(talks), silent)


def opaque(process: int) -> str:
    """The program of the family that makes calls which nobody hears of (io_uring(7)); "" for none."""
    for each in family_of(process):
        if any(one.path == RING for one in descriptors_of(live_thread(each))):
            return program_of(live_thread(each))
    return ""


def _is_silent(root: int, path: str) -> bool:
    try:
        found = openat2(root, path, os.O_PATH | os.O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS)
    except OSError:
        return False
    try:
        # What is no socket, as the file that one was bound over, is none that anybody listens on.
        return not stat.S_ISSOCK(os.fstat(found).st_mode) or not is_listened_to(found)
    finally:
        os.close(found)


@dataclass(slots=True)
class Logs:
    """The files that a process appends to, and what it has said there since they were opened here."""

    files: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)   # inode -> descriptor, size

    def follow(self, process: int, from_start: bool = False) -> None:
        """Those that it has now; of one that is new, what is in it from the start."""
        for each in family_of(process):
            thread = live_thread(each)
            for one in descriptors_of(thread):
                writes = one.flags & os.O_ACCMODE != os.O_RDONLY
                appends = writes and (one.flags & os.O_APPEND or one.number in (1, 2))
                if stat.S_ISREG(one.mode) and appends and len(self.files) < _MOST_LOGS:
                    self._add(f"/proc/{thread}/fd/{one.number}", from_start)

    def _add(self, path: str, from_start: bool) -> None:
        with contextlib.suppress(OSError):  # it has been closed
            own = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            status = os.fstat(own)
            if (status.st_dev, status.st_ino) in self.files or not stat.S_ISREG(status.st_mode):
                os.close(own)
            else:
                self.files[status.st_dev, status.st_ino] = own, 0 if from_start else status.st_size

    def said(self) -> bytes:
        """What was added, the end of each; they are closed."""
        parts = []
        for own, size in self.files.values():
            with contextlib.suppress(OSError):
                end = os.fstat(own).st_size
                parts.append(os.pread(own, _SAID, max(size, end - _SAID)))
            os.close(own)
        self.files.clear()
        return b"\n".join(part for part in parts if part)
