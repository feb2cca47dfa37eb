"""Files that are read well, and hold nothing, where the host's hold something: no call fails of that."""

from __future__ import annotations

from collections.abc import Iterator

from tracejail.model import EntryType, Want

from .execution import bring_over
from .facts import Facts
from .finding import Confidence, Finding

_READ = ("/etc/", "/usr/")   # what is written by programs lies elsewhere, and may be empty today
_MARK = b"-----BEGIN "       # of certificates, as PEM has them
_MOST = 1 << 16


_START = 4096   # bytes of a file that may be a key


def hollow(facts: Facts) -> Iterator[Finding]:
    """A file that was opened to be read, and is empty in the jail alone; or has no certificate where the host's has some."""
    seen: set[str] = set()
    for call in facts.calls():
        if call.failed or not call.opens or not call.path.startswith(_READ) or call.path in seen:
            continue
        if call.record.arguments[-1].want is not Want.OBJECT or call.record.flags & 3:
            continue
        seen.add(call.path)
        here, host = facts.jail.way(call.path).found, facts.host.way(call.path).found
        if here is None or host is None or here.type is not EntryType.FILE or host.type is not EntryType.FILE:
            continue
        if facts.secret(host.path, facts.host.start(host.path, _START)):
            continue  # it is empty so that it need not be here
        if here.foreign or host.foreign or facts.harmless(call.path) or not host.size:
            continue
        if not here.size:
            what = f"is empty in the jail, and has {host.size} bytes on the host"
        elif here.size < host.size and _MARK in facts.host.start(call.path, _MOST) and not _certified(facts, call.path):
            what = "has no certificate in the jail, and has some on the host"
        else:
            continue
        yield Finding(
            "hollow", Confidence.LIKELY, call.path, f"{call.path} {what}; {call.record.program} reads it",
            bring_over(facts, call.path), (call,), evidence=(f"{here.path}: {here.size} bytes",), quiet=True, weight=5,
        )


def _certified(facts: Facts, path: str) -> bool:
    return _MARK in facts.jail.start(path, _MOST)
