"""Which capabilities (capabilities(7)) what a program was seen to do takes: pure."""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Iterable

from tracejail.model import EntryType, Manifest, SyscallRecord, Written

from .pretence import CHOWNS, SETS_GROUP, SETS_USER

# Who changes its user signals those of its processes that have, too.
_OF_CALLS = {
    **dict.fromkeys(SETS_USER, ("setuid", "kill")),
    **dict.fromkeys((*SETS_GROUP, "setgroups"), ("setgid",)),
    **dict.fromkeys(CHOWNS, ("chown", "dac_override", "fowner")),   # what was given away is opened again
    "chroot": ("sys_chroot",),
}
# A library for what no call shows that a tracer hears of: (beginning of its name, capability).
_OF_LIBRARIES = (("libaudit.so.", "audit_write"),)
_MAKES_NODES = {"mknod": 1, "mknodat": 2}   # which word is the mode
_LOW_PORT = re.compile(r".*:(\d{1,3}|10[01]\d|102[0-3])")   # of INADDR:PORT; ip(7), ip_unprivileged_port_start
_WRITE = 0o222


def of_call(record: SyscallRecord) -> tuple[str, ...]:
    """Those that a call of root may take."""
    at = _MAKES_NODES.get(record.syscall)
    if at is not None:
        return ("mknod",) if stat.S_IFMT(record.words[at]) in (stat.S_IFCHR, stat.S_IFBLK) else ()
    return _OF_CALLS.get(record.syscall, ())


def of_address(address: str) -> tuple[str, ...]:
    """Those that it takes to listen there."""
    return ("net_bind_service",) if not address.startswith("unix") and _LOW_PORT.fullmatch(address) else ()


def of_places(places: Iterable[Written], uid: int, groups: Iterable[int]) -> tuple[str, ...]:
    """Those that it takes to write there."""
    own = {*groups}
    return ("dac_override",) if any(not _may_write(place, uid, own) for place in places) else ()


def taken(manifest: Manifest, seen: Iterable[str]) -> tuple[str, ...]:
    """Those that the program of a manifest takes, by what was seen of it and by where it listens and writes."""
    command = manifest.command
    found = {name for address in manifest.listens for name in of_address(address)}
    if not command.uid:
        found.update(seen, of_places(manifest.written, command.uid, (command.gid, *command.groups)))
        names = [posixpath.basename(entry.path) for entry in manifest.entries]
        found.update(power for start, power in _OF_LIBRARIES if any(name.startswith(start) for name in names))
    return tuple(sorted(found))


def _may_write(place: Written, uid: int, groups: set[int]) -> bool:
    if place.type not in (EntryType.DIRECTORY, EntryType.FILE):
        return True
    shift = 6 if place.uid == uid else 3 if place.gid in groups else 0
    return bool(place.mode & _WRITE & 7 << shift)
