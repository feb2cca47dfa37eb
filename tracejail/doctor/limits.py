"""Limits of a process (getrlimit(2)) that a call has met."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

from tracejail.model import Want

from .consequence import dies, matters
from .facts import Call, Facts
from .finding import Action, Confidence, Finding, Kind

_TOO_LARGE = 153   # 128 and SIGXFSZ
_NO_LIMIT = "unlimited"


class _Limit(NamedTuple):
    name: str        # as /proc/PID/limits has it
    option: str      # of ulimit
    what: str


_PROCESSES = _Limit("Max processes", "-u", "no more processes can be made")
_FILES = _Limit("Max open files", "-n", "no more files can be opened")
_SIZE = _Limit("Max file size", "-f", "no file can become larger")
_MEMORY = (
    _Limit("Max address space", "-v", "no more memory can be had"),
    _Limit("Max data size", "-d", "no more memory can be had"),
)
_LOCKED = _Limit("Max locked memory", "-l", "no more memory can be locked")
_CALLS: dict[int, tuple[frozenset[str], tuple[_Limit, ...]]] = {
    errno.EAGAIN: (frozenset(("clone", "clone3", "fork", "vfork")), (_PROCESSES,)),
    errno.EFBIG: (frozenset(("write", "pwrite64", "writev", "pwritev", "ftruncate", "truncate", "fallocate")), (_SIZE,)),
}
_MAPS = frozenset(("mmap", "brk", "mremap", "mprotect"))
_LOCKS = frozenset(("mlock", "mlock2", "mlockall"))


def limits(facts: Facts) -> Iterator[Finding]:
    """Calls that failed at a limit, by what the limits were then."""
    found: dict[tuple[str, str, str], tuple[_Limit, list[Call]]] = {}
    for call in facts.failed():
        for limit in _met(call):
            value = _value(call, limit)
            if value and value != _NO_LIMIT:
                found.setdefault((limit.name, value, call.record.program), (limit, []))[1].append(call)
                break
    sized = False
    for (name, value, program), (limit, calls) in found.items():
        sized = sized or limit is _SIZE
        sure = matters(facts, calls) or dies(facts)
        yield Finding(
            "limit", Confidence.CERTAIN if sure else Confidence.LIKELY, program or facts.program,
            f"{limit.what} by {program or facts.program}: the limit \"{name}\" is {value}",
            (_raise(limit, program),), tuple(calls), evidence=(f"/proc/PID/limits: {name} {value}",), weight=20,
            quiet=not sure,
        )
    for end in facts.run.ends if facts.run and not sized else ():
        if end.status == _TOO_LARGE:
            yield Finding(
                "limit", Confidence.CERTAIN, end.program, f"{end.program} was ended by SIGXFSZ: {_SIZE.what}",
                (_raise(_SIZE, end.program),), weight=20,
            )


def space(facts: Facts) -> Iterator[Finding]:
    """A file system of the jail that is full, and that the run writes to: in memory, where it finds room that the jail has
    not."""
    found: dict[str, list[Call]] = {}
    for call in facts.calls():
        if not call.path or (call.failed and call.result != -errno.ENOSPC):
            continue
        argument = call.record.arguments[-1]
        writes = call.opens and call.record.flags & os.O_ACCMODE
        if writes or argument.want is Want.CREATE:
            mount = facts.mount_of(call.path)
            if mount is not None and mount.full and "ro" not in mount.flags:
                found.setdefault(mount.path, []).append(call)
    for path, calls in found.items():
        mount = facts.mount_of(path)
        yield Finding(
            "full", Confidence.CERTAIN, path,
            f"the file system on {path} of the jail has no {mount.full if mount else 'room'} left, and {calls[0].record.program} "
            f"writes to it ({calls[0].path})",
            (Action(Kind.ADVICE, path, text=f"make room on {path} of the jail, or give it another file system"),), tuple(calls),
            weight=20, quiet=not dies(facts),
        )


def _met(call: Call) -> tuple[_Limit, ...]:
    number = -call.result
    if number == errno.EMFILE:
        return (_FILES,)
    if number == errno.ENOMEM:
        return _MEMORY if call.name in _MAPS else (_LOCKED,) if call.name in _LOCKS else ()
    names, met = _CALLS.get(number, (frozenset(), ()))
    return met if call.name in names else ()


def _value(call: Call, limit: _Limit) -> str:
    return dict(call.state.limits).get(limit.name, "") if call.state else ""


def _raise(limit: _Limit, program: str) -> Action:
    words = f"raise the limit \"{limit.name}\" for it: ulimit {limit.option} of the shell that starts it, limits.conf"
    return Action(Kind.ADVICE, program, text=f"{words}, or the Limit...= of its unit")
