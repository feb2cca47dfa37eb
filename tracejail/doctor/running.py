"""A daemon that runs already in a root directory of its own: what it holds is no longer what the names there say. No call
fails of most of that, until it is started or asked anew."""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterator

from tracejail.model import EntryType

from .facts import GONE, Call, Facts
from .finding import Action, Confidence, Finding, Kind
from .held import Talk
from .remedies import bring, make_directory

LOG = "/dev/log"   # syslog(3)
_SENDS = frozenset(("send", "sendto", "sendmsg", "sendmmsg", "write", "writev"))
_REFUSED = (-errno.ECONNREFUSED, -errno.ENOTCONN, -errno.EPIPE, -errno.ECONNRESET)


def root_gone(facts: Facts) -> Iterator[Finding]:
    """Its root directory itself has been removed, or another has its name: what is put there now it does not see."""
    if facts.held is not None and not facts.held.root:
        yield Finding(
            "root-gone", Confidence.CERTAIN, "/",
            f"the root directory of {facts.program} has been removed while it ran: it finds nothing in it any more",
            (Action(Kind.ADVICE, "/", text="start it anew: what has the name of its root directory now is another one"),),
            evidence=(f"/proc/{facts.held.process}/root: deleted",), weight=30,
        )


def logs(facts: Facts) -> Iterator[Finding]:
    """A file that it appends to and that has no name any more, as after a rotation of which it was not told."""
    seen: set[str] = set()
    for each in facts.held.opened if facts.held else ():
        if each.type is not EntryType.FILE or not each.flags & os.O_APPEND or each.path in seen:
            continue
        above = posixpath.dirname(each.path)
        line = f"/proc/PID/fd/{each.number} of {each.program}: {each.path}"
        if each.deleted and not each.outside:
            seen.add(each.path)
            there = facts.jail.way(each.path).found is not None
            what = "another file has its name" if there else "nothing has its name"
            ready = () if facts.jail.way(above).found is not None else make_directory(facts, above)
            yield Finding(
                "deleted-log", Confidence.LIKELY, each.path,
                f"{each.program} appends to {each.path}, which has been removed ({what}): what it writes is lost",
                (*ready, Action(Kind.ADVICE, each.path, text="let it open its logs anew (USR1 or HUP for many), or restart it")),
                evidence=(f"{line} (deleted), {each.size} bytes",), weight=10, quiet=True,
            )
        elif each.outside and facts.jail.way(above).found is None:
            seen.add(each.path)
            yield Finding(
                "log-outside", Confidence.POSSIBLE, above,
                f"{each.program} has opened {each.path} before it took on its root directory, which has no {above}: it can't "
                "open it anew, as after a rotation",
                make_directory(facts, above, uid=facts.uid, gid=facts.gid), evidence=(line,), quiet=True,
            )


def devices(facts: Facts) -> Iterator[Finding]:
    """A regular file that it has open in place of a device, though the name may lead to the device by now."""
    seen: set[str] = set()
    for each in facts.held.opened if facts.held else ():
        host = facts.host.way(each.path).found if each.path.startswith("/dev/") else None
        if host is None or host.type is not EntryType.CHARACTER or each.type is not EntryType.FILE or each.outside:
            continue
        here = facts.jail.way(each.path).found
        if each.path in seen or (here is not None and here.type is EntryType.FILE):
            continue  # the tree shows it, and has its rule
        seen.add(each.path)
        yield Finding(
            "holds-file", Confidence.CERTAIN, each.path,
            f"{each.program} has a regular file open as {each.path} ({each.size} bytes), of the time when there was one",
            (Action(Kind.ADVICE, each.path, text="restart it: it goes on with what it has open"),),
            evidence=(f"/proc/PID/fd/{each.number} of {each.program}: {each.path}{' (deleted)' if each.deleted else ''}",),
            quiet=True,
        )


def programs(facts: Facts) -> Iterator[Finding]:
    """A program or library that it runs and that its root has not, or not so, any more."""
    seen: set[str] = set()
    for each in facts.held.loaded if facts.held else ():
        if not each.deleted or each.path in seen:
            continue
        seen.add(each.path)
        line = f"/proc/PID/maps of {each.program}: {each.path} (deleted)"
        if facts.jail.way(each.path).found is None:
            yield Finding(
                "lost-file", Confidence.LIKELY, each.path,
                f"{each.path}, which {each.program} has loaded, has been removed from its root: it can't be started again",
                bring(facts, each.path), evidence=(line,), weight=10, quiet=True,
            )
        else:
            yield Finding(
                "replaced-file", Confidence.POSSIBLE, each.path,
                f"{each.path} has been replaced since {each.program} loaded it: it runs the former one until it is restarted",
                (Action(Kind.ADVICE, each.path, text="restart it"),), evidence=(line,), quiet=True,
            )


def talks(facts: Facts) -> Iterator[Finding]:
    """A socket whose other side has been closed: of datagrams nobody is told, but by the next one that is sent."""
    seen: set[str] = set()
    for each in facts.held.talks if facts.held else ():
        path = LOG if is_log(facts, each) else each.path or each.spelled
        if not each.gone or not each.datagrams or path in seen:
            continue
        seen.add(path)
        refused = tuple(call for call in facts.failed(*_REFUSED) if _is_of(call, each))
        if any(call.path == path for call in facts.failed(*GONE, -errno.ECONNREFUSED)):
            continue  # it has tried to connect anew: the rules about sockets tell of it
        node = facts.jail.way(path).found
        if node is not None and not (facts.held and path in facts.held.silent):
            confidence, state = Confidence.POSSIBLE, "a service listens there again, and it has to connect anew"
        elif node is not None:
            confidence, state = Confidence.LIKELY, f"nobody listens on {path} of its root"
        else:
            confidence, state = Confidence.LIKELY, f"its root has no {path} to connect to again"
        yield Finding(
            "log-socket" if path == LOG else "lost-service", confidence, path,
            f"{each.program} sends to {path}, and the service there has ended: what it sends is lost; {state}",
            (advice(path),), refused, quiet=True, weight=10,
            evidence=(f"/proc/PID/fd/{each.number} of {each.program}: connected to {each.spelled}, which is closed",),
        )


def silent_log(facts: Facts) -> Iterator[Finding]:
    """The socket of the system log is there, and nobody is bound to it."""
    if any(call.path == LOG for call in facts.failed(-errno.ECONNREFUSED)):
        return  # told by what it asked for
    if facts.held is not None and LOG in facts.held.silent:
        yield Finding(
            "log-socket", Confidence.LIKELY, LOG, f"nobody listens on {LOG} of its root: what is told to the system log is lost",
            (advice(LOG),), quiet=True, weight=10,
        )


def is_log(facts: Facts, talk: Talk) -> bool:
    """Whether a socket leads to the system log, by the name in its root or by that of the host's."""
    host = facts.host.way(LOG).found
    return talk.path == LOG or talk.spelled == LOG or (host is not None and talk.spelled == host.path)


def advice(path: str) -> Action:
    """What to do about a socket that a service of the host is to listen on."""
    return Action(Kind.ADVICE, path, text=(
        f"let the log daemon listen on one more socket, {path} of the jail (it may need the directory), or bind "
        f"a directory in which it listens, and make {path} a link to its socket" if path == LOG else
        f"start the service that is to listen on {path} of the jail, or bind the directory of the host's socket"
    ))


def _is_of(call: Call, talk: Talk) -> bool:
    same = bool(call.record.words) and call.record.words[0] & 0xFFFFFFFF == talk.number
    return same and call.record.process == talk.process and call.name in _SENDS
