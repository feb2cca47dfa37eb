"""Sockets of the file system that a program wants to talk to: they are no files that could be copied."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterator

from tracejail.model import EntryType

from .consequence import weighed
from .facts import GONE, Call, Facts
from .finding import Action, Confidence, Finding, Kind
from .remedies import make_directory
from .running import LOG, advice, is_log

_TALKS = frozenset(("connect", "sendto", "sendmsg", "sendmmsg"))
_SENDS = frozenset(("send", "sendto", "sendmsg", "sendmmsg"))


def absent(facts: Facts) -> Iterator[Finding]:
    """A socket that is not in the jail."""
    for path, calls in _talks(facts, *GONE).items():
        if facts.jail.way(path).found is not None:
            continue
        host = facts.host.way(path).found
        there = host is not None and host.type is EntryType.SOCKET
        if path == LOG:  # syslog(3) is void: a program never hears that nobody listens
            # Where the host has no log either it is news of a daemon only that has had one, or tries again and again.
            had = facts.held is not None and _had_one(facts, calls)
            again = facts.held is not None and sum(call.count for call in calls) > 1
            lost = " any more" if had else ""
            yield Finding(
                "log-socket", Confidence.LIKELY if there or had or again else Confidence.POSSIBLE, path,
                f"{path} is not in the jail{lost}: what {calls[0].record.program} has to tell the system log is lost",
                (advice(path),), tuple(calls), weight=10, quiet=True,
            )
            continue
        if host is None or not there or facts.harmless(path):
            continue
        confidence, quiet = weighed(facts, calls)
        directory = posixpath.dirname(host.path)
        yield Finding(
            "socket", confidence, path, f"{path}, a socket on which a service of the host listens, is not in the jail",
            (*make_directory(facts, posixpath.dirname(directory)), Action(Kind.MOUNT, directory, text=directory, mode=0o755)),
            tuple(calls), evidence=(host.standing,), weight=15, quiet=quiet,
        )


def stale(facts: Facts) -> Iterator[Finding]:
    """A socket that is there, and on which nobody listens."""
    for path, calls in _talks(facts, -errno.ECONNREFUSED).items():
        here = facts.jail.way(path).found
        if here is None or here.type is not EntryType.SOCKET:
            continue
        confidence, quiet = weighed(facts, calls)
        if path == LOG:
            confidence = Confidence.LIKELY  # what is lost there is never missed
        yield Finding(
            "stale-socket", confidence, path, f"nobody listens on {path}: it was left by a service that has ended, or copied",
            (Action(Kind.ADVICE, path, text=(
                f"start the service that is to listen on {path} of the jail, or bind the directory of the host's socket: a "
                "copy of a socket leads nowhere")),),
            tuple(calls), evidence=(here.standing,), weight=15, quiet=quiet,
        )


def _had_one(facts: Facts, calls: list[Call]) -> bool:
    """Whether a process that looks for a service in vain was refused by one before: it was connected, and has lost it."""
    if facts.held is not None and any(talk.gone and is_log(facts, talk) for talk in facts.held.talks):
        return True
    first = {call.record.process: call.order for call in reversed(calls)}
    return any(
        call.order < first.get(call.record.process, 0) and call.name in _SENDS and not call.path and not call.record.address
        for call in facts.failed(-errno.ECONNREFUSED, -errno.ENOTCONN)
    )


def no_socket(facts: Facts) -> Iterator[Finding]:
    """Another thing than a socket at its place."""
    for path, calls in _talks(facts, -errno.ECONNREFUSED).items():
        here = facts.jail.way(path).found
        if here is None or here.type is EntryType.SOCKET:
            continue
        confidence, quiet = weighed(facts, calls)
        if path == LOG:
            confidence = Confidence.LIKELY
        yield Finding(
            "no-socket", confidence, path, f"{path} is no socket in the jail ({here.type.value})",
            (Action(Kind.REMOVE, path),), tuple(calls), evidence=(here.standing,), weight=15, quiet=quiet,
        )


def _talks(facts: Facts, *numbers: int) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*numbers):
        if call.name in _TALKS and call.path:
            found.setdefault(call.path, []).append(call)
    return found
