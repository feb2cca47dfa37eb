"""What the kernel refuses (EACCES, EPERM, EROFS): by modes and owners, mounts, capabilities, filters; it says of none which."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterator

from tracejail.model import EntryType, Want

from .consequence import lost_later, weighed
from .facts import REFUSED, Call, Facts, Node, Way
from .finding import Action, Confidence, Finding, Kind
from .permissions import EXECUTE, READ, WRITE, closed_to, granted

_OVERRIDE = 1                     # CAP_DAC_OVERRIDE
_O_ACCMODE, _O_RDONLY, _O_RDWR = 3, 0, 2
_LOOKS = frozenset((
    "stat", "lstat", "stat64", "lstat64", "newfstatat", "fstatat64", "statx", "readlink", "readlinkat", "statfs", "statfs64",
    "getxattr", "lgetxattr",
))
_ASKS = {"access": 1, "faccessat": 2, "faccessat2": 2}    # the argument with R_OK, W_OK, X_OK
_OWNERS = frozenset(("chmod", "fchmodat", "chown", "lchown", "fchownat", "utime", "utimes", "utimensat", "futimesat"))
_EXECUTES = 4                     # PROT_EXEC


def modes(facts: Facts) -> Iterator[Finding]:
    """The object on the way that is closed to the user that the program was then."""
    found: dict[tuple[str, int], tuple[Node, int, list[Call]]] = {}
    for call in facts.failed(*REFUSED):
        if not call.path or call.state is None or call.executes or call.name in _OWNERS:
            continue
        if _OVERRIDE in call.state.capabilities:
            continue
        way, want = _wanted(facts, call)
        groups = (call.state.gid, *call.state.groups)
        closed = closed_to(way, call.state.uid, groups, want, root_may=False)
        if closed is not None:
            need = want if way.found is not None and closed.path == way.found.path else EXECUTE
            _, whole, calls = found.setdefault((closed.path, call.state.uid), (closed, 0, []))
            found[closed.path, call.state.uid] = (closed, whole | need, [*calls, call])
    for (path, uid), (closed, need, calls) in found.items():
        confidence, quiet = weighed(facts, calls)
        host = facts.host.way(path).found
        # What it leaves behind at its end harms nobody.
        removes = all(call.record.arguments[-1].want is Want.REMOVE and call.phase == "stop" for call in calls)
        if quiet and not removes and host is not None and _grants(host, calls[0]) & need == need:
            confidence = Confidence.LIKELY
        if (lost_later(facts, calls) and not removes) or any(call.record.arguments[-1].want is Want.SOCKET for call in calls):
            confidence = Confidence.LIKELY
        what = " and ".join(word for bit, word in ((READ, "read"), (WRITE, "written"), (EXECUTE, "searched")) if need & bit)
        thing = "" if closed.path == calls[0].path else f", on the way to {calls[0].path},"
        yield Finding(
            "closed", confidence, path,
            f"{path}{thing} can't be {what} by user {uid} (mode {closed.mode:04o}, owner {closed.uid}:{closed.gid}), "
            f"whom {calls[0].record.program} has become",
            _open(closed, host, calls[0], need), tuple(calls), evidence=(closed.standing,), weight=20, quiet=quiet,
        )


def _wanted(facts: Facts, call: Call) -> tuple[Way, int]:
    """The way that the kernel goes for a call, and what it wants of its end."""
    argument = call.record.arguments[-1]
    way = facts.jail.way(call.path)
    if argument.want is Want.REMOVE or (argument.want is Want.CREATE and way.found is None):
        return facts.jail.way(posixpath.dirname(call.path.rstrip("/")) or "/"), WRITE | EXECUTE
    if call.name in _LOOKS:
        return way, 0
    if call.name in _ASKS:
        return way, call.record.words[_ASKS[call.name]] & 7 if len(call.record.words) > _ASKS[call.name] else 0
    if argument.want is Want.SOCKET:
        return way, WRITE
    if call.name == "chdir":
        return way, EXECUTE
    mode = call.record.flags & _O_ACCMODE
    return way, READ if mode == _O_RDONLY else READ | WRITE if mode == _O_RDWR else WRITE


def _grants(node: Node, call: Call) -> int:
    return granted(node, call.state.uid, (call.state.gid, *call.state.groups)) if call.state else 0


def _open(closed: Node, host: Node | None, call: Call, need: int) -> tuple[Action, ...]:
    """As the host has it, where that is enough; else the least that is."""
    uid, gid = (call.state.uid, call.state.gid) if call.state else (0, 0)
    if closed.path == "/" and need & WRITE:
        search = closed.mode | EXECUTE << 3 | EXECUTE
        opened = () if _grants(closed, call) & EXECUTE else (Action(Kind.MODE, "/", mode=search),)
        text = "let it write to a directory of its own, and not to the root directory: see its options, or its working directory"
        return (*opened, Action(Kind.ADVICE, "/", text=text))
    if host is not None and host.type is closed.type and _grants(host, call) & need == need:
        owner, mode = (host.uid, host.gid), host.mode
    elif closed.uid == uid:
        owner, mode = (closed.uid, closed.gid), closed.mode | need << 6
    elif need & WRITE and closed.type is EntryType.DIRECTORY:
        owner, mode = (uid, gid), closed.mode | need << 6
    elif need == EXECUTE:
        owner, mode = (closed.uid, closed.gid), closed.mode | EXECUTE << 3 | EXECUTE
    else:
        owner, mode = (closed.uid, gid), closed.mode | need << 3
    actions = []
    if owner != (closed.uid, closed.gid):
        actions.append(Action(Kind.OWNER, closed.path, uid=owner[0], gid=owner[1]))
    if mode != closed.mode:
        actions.append(Action(Kind.MODE, closed.path, mode=mode))
    return tuple(actions)


def read_only(facts: Facts) -> Iterator[Finding]:
    """A write to a mount that is read-only."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(-errno.EROFS, *REFUSED):
        if not call.path or call.executes:
            continue
        path = call.path if facts.jail.way(call.path).found is not None else posixpath.dirname(call.path)
        mount = facts.mount_of(path)
        if mount is not None and "ro" in mount.flags and (call.result == -errno.EROFS or _wanted(facts, call)[1] & WRITE):
            found.setdefault(mount.path, []).append(call)
    for place, calls in found.items():
        mount = facts.mount_of(place)
        confidence, quiet = weighed(facts, calls)
        where = "the jail's file system" if place == "/" else f"the mount on {place}"
        kind = f" ({mount.type})" if mount is not None else ""
        yield Finding(
            "read-only", Confidence.CERTAIN if not quiet else confidence, place,
            f"{calls[0].path} is to be written, and lies on {where}{kind}, which is mounted read-only",
            (Action(Kind.ADVICE, place, text=f"mount -o remount,rw for {place} of the jail, or a tmpfs where it writes"),),
            tuple(calls), weight=20, quiet=quiet,
            evidence=(f"mount {place} type {mount.type} ({', '.join(sorted(mount.flags))})",) if mount else (),
        )


def not_mapped(facts: Facts) -> Iterator[Finding]:
    """A library that can be read, and not be mapped to be executed: its mount is noexec."""
    opened: dict[int, Call] = {}
    for call in facts.calls():
        if not call.failed and call.opens and call.path:
            opened[call.record.process] = call
        last = opened.get(call.record.process)
        if call.name != "mmap" or call.result not in REFUSED or last is None:
            continue
        if len(call.record.words) < 3 or not call.record.words[2] & _EXECUTES:
            continue
        mount = facts.mount_of(last.path)
        if mount is not None and "noexec" in mount.flags:
            yield Finding(
                "noexec", Confidence.CERTAIN, mount.path,
                f"{last.path} is to be loaded, and lies on the mount on {mount.path} ({mount.type}), which is mounted noexec",
                (Action(Kind.ADVICE, mount.path, text=f"mount -o remount,exec for {mount.path} of the jail"),), (call,),
                evidence=(f"mount {mount.path} type {mount.type} ({', '.join(sorted(mount.flags))})",), weight=20,
            )
