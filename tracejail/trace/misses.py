"""From a finished system call to a miss: pure."""

from __future__ import annotations

import errno

from tracejail.model import Because, Miss, MissKind, PathArgument, SyscallRecord, Want

_GONE = (-errno.ENOENT, -errno.ENOTDIR)
_REFUSED = (-errno.EACCES, -errno.EPERM)
_KINDS = {Want.CREATE: MissKind.CREATE, Want.LIST: MissKind.LISTING, Want.SOCKET: MissKind.SOCKET}


def because(record: SyscallRecord, argument: PathArgument) -> Because:
    """Who asks, for the manifest."""
    return Because(record.program, record.syscall, argument.spelled)


def absolute(argument: PathArgument) -> str:
    """The path of an argument as text, from the jail's root, `..` kept."""
    if argument.spelled.startswith("/"):
        return (argument.root if argument.root != "/" else "") + argument.spelled
    return f"{argument.base.rstrip('/')}/{argument.spelled}"


def misses(record: SyscallRecord) -> tuple[Miss, ...]:
    """The misses that a finished call shows, one for each path that may be the reason. None for a call that removes
    a thing that is not there: on the host it would be there no longer either."""
    refused = record.result in _REFUSED
    absent = record.result in _GONE
    stale = record.result == -errno.ECONNREFUSED
    found = []
    for argument in record.arguments:
        if argument.want is Want.REMOVE or not (refused or absent or (stale and argument.want is Want.SOCKET)):
            continue
        kind = MissKind.DENIED if refused else _KINDS.get(argument.want, MissKind.ABSENT)
        found.append(Miss(kind, because(record, argument), argument, record.flags, record.process))
    return tuple(found)
