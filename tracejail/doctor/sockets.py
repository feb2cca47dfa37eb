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

_TALKS = frozenset(("connect", "sendto", "sendmsg", "sendmmsg"))
_LOG = "/dev/log"   # syslog(3): void, so that a program never hears that nobody listens


def absent(facts: Facts) -> Iterator[Finding]:
    """A socket that is not in the jail."""
    for path, calls in _talks(facts, *GONE).items():
        if facts.jail.way(path).found is not None:
            continue
        host = facts.host.way(path).found
        there = host is not None and host.type is EntryType.SOCKET
        if path == _LOG:
            yield Finding(
                "log-socket", Confidence.LIKELY if there else Confidence.POSSIBLE, path,
                f"{path} is not in the jail: what {calls[0].record.program} has to tell the system log is lost",
                (Action(Kind.ADVICE, path, text=(
                    f"let the log daemon listen on one more socket, {path} of the jail (it may need the directory), or bind "
                    f"a directory in which it listens, and make {path} a link to its socket")),),
                tuple(calls), weight=10, quiet=True,
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
        if path == _LOG:
            confidence = Confidence.LIKELY  # what is lost there is never missed
        yield Finding(
            "stale-socket", confidence, path, f"nobody listens on {path}: it was left by a service that has ended, or copied",
            (Action(Kind.ADVICE, path, text=(
                f"start the service that is to listen on {path} of the jail, or bind the directory of the host's socket: a "
                "copy of a socket leads nowhere")),),
            tuple(calls), evidence=(here.standing,), weight=15, quiet=quiet,
        )


def no_socket(facts: Facts) -> Iterator[Finding]:
    """Another thing than a socket at its place."""
    for path, calls in _talks(facts, -errno.ECONNREFUSED).items():
        here = facts.jail.way(path).found
        if here is None or here.type is EntryType.SOCKET:
            continue
        confidence, quiet = weighed(facts, calls)
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
