"""Another file that is read where one is not there: a default, mostly a poorer one. No call fails but the first."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from tracejail.model import EntryType, Want

from .facts import GONE, Call, Facts
from .finding import Confidence, Finding
from .remedies import bring

_CONFIGURATION = ("/etc/",)


def fallbacks(facts: Facts) -> Iterator[Finding]:
    """A configuration of the host's that was looked for, and then the file of the same name elsewhere that was read."""
    missed: dict[tuple[int, str], Call] = {}
    told: set[str] = set()
    for call in facts.calls():
        if not call.path or not call.name.startswith("open") or call.record.flags & os.O_DIRECTORY:
            continue
        name = posixpath.basename(call.path)
        if call.result in GONE and call.record.arguments[-1].want is Want.OBJECT:
            if call.path.startswith(_CONFIGURATION):
                missed.setdefault((call.record.process, name), call)
            continue
        first = missed.get((call.record.process, name))
        if call.failed or first is None or first.path == call.path or first.path in told:
            continue
        found = facts.host.way(first.path).found
        if found is None or found.type is not EntryType.FILE or facts.jail.way(first.path).found or facts.harmless(first.path):
            continue
        told.add(first.path)
        yield Finding(
            "fallback", Confidence.LIKELY, first.path,
            f"{first.path} is not in the jail, and the host has it: {call.record.program} fell back to {call.path}",
            bring(facts, first.path), (first, call), weight=10, quiet=True,
        )
