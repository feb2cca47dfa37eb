"""fanotify(7): hold the first open of a file, or the first reading of a directory, until it has been made ready.

Permission events only. Two kinds of groups are needed: the descriptor that comes with an event can be written for
files (FAN_CLASS_CONTENT, O_RDWR), and a directory can't be opened so. Whoever holds a group must not open a marked
object: it would wait for itself. A group goes with its last descriptor, and what waits is then let through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from dataclasses import dataclass

from .syscalls import syscall

_INIT, _MARK = 300, 301
_CLASS_CONTENT, _CLOEXEC, _NONBLOCK, _REPORT_TID = 0x04, 0x01, 0x02, 0x100
_UNLIMITED_QUEUE, _UNLIMITED_MARKS = 0x10, 0x20
_ADD, _REMOVE = 0x1, 0x2
OPEN, READ, _ON_DIRECTORY = 0x10000, 0x20000, 0x40000000   # FAN_OPEN_PERM, FAN_ACCESS_PERM, FAN_ONDIR
_ALLOW, _DENY = 1, 2
_EVENT = struct.Struct("=IBBHQii")   # struct fanotify_event_metadata
_VERSION = 3
_READ_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class Event:
    """A thread waits: `descriptor` is the object that it opens (OPEN) or the directory that it reads (READ)."""

    thread: int
    mask: int
    descriptor: int


def open_group(writable: bool) -> int:
    """A group without limits on marks and queue (CAP_SYS_ADMIN gives that), not blocking when it is read.

    Raises OSError: EPERM, ENOSYS, EMFILE (fs.fanotify.max_user_groups), EINVAL (a kernel without permission events).
    """
    flags = _CLASS_CONTENT | _CLOEXEC | _NONBLOCK | _REPORT_TID | _UNLIMITED_QUEUE | _UNLIMITED_MARKS
    mode = os.O_RDWR if writable else os.O_RDONLY
    try:
        return syscall(_INIT, flags, mode | os.O_LARGEFILE | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, f"fanotify_init: {os.strerror(error.errno or 0)}") from None


def mark(group: int, descriptor: int, directory: bool) -> None:
    """Hear of opens and executions of a file, or of opens and readings of a directory, that is open here (O_PATH will
    do). Raises OSError: ENOSPC, ENOMEM (no more marks)."""
    _change(group, _ADD, descriptor, OPEN | READ | _ON_DIRECTORY if directory else OPEN)


def unmark(group: int, descriptor: int, mask: int) -> None:
    """Hear no more of these events of an object that is open here."""
    # FAN_ONDIR stays: taken away with one kind of event, it would be gone for the other as well.
    with contextlib.suppress(FileNotFoundError):  # it is not marked
        _change(group, _REMOVE, descriptor, mask)


def _change(group: int, what: int, descriptor: int, mask: int) -> None:
    # By name: fanotify_mark(2) does not take an O_PATH descriptor itself.
    syscall(_MARK, group, what, mask, -100, f"/proc/self/fd/{descriptor}".encode())


def read_events(group: int) -> list[Event]:
    """The events that wait now; each must be answered."""
    try:
        data = os.read(group, _READ_SIZE)
    except BlockingIOError:
        return []
    events, position = [], 0
    while position + _EVENT.size <= len(data):
        length, version, _, _, mask, descriptor, thread = _EVENT.unpack_from(data, position)
        if version != _VERSION:
            raise OSError(errno.EPROTO, f"fanotify events have version {version}")
        if descriptor >= 0:
            events.append(Event(thread, mask, descriptor))
        position += length
    return events


def answer(group: int, event: Event, allow: bool) -> None:
    """Close the event's descriptor and let the thread go on, or fail with EPERM. The close comes first: executing a
    file that is open for writing is ETXTBSY."""
    os.close(event.descriptor)
    os.write(group, struct.pack("=iI", event.descriptor, _ALLOW if allow else _DENY))
