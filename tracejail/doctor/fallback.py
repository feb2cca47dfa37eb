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
    since: dict[int, list[Call]] = {}     # of each process what it missed since the last file that it opened
    told: set[str] = set()
    for call in facts.calls():
        if not call.path or not call.opens or call.record.flags & os.O_DIRECTORY:
            continue
        name = posixpath.basename(call.path)
        lately = since.setdefault(call.record.process, [])
        if call.result in GONE and call.record.arguments[-1].want is Want.OBJECT:
            if call.path.startswith(_CONFIGURATION):
                missed.setdefault((call.record.process, name), call)
                lately.append(call)
            continue
        first = missed.get((call.record.process, name)) or _beside(lately, call)
        if not call.failed:
            lately.clear()
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


def _beside(lately: list[Call], call: Call) -> Call | None:
    """Of what was missed just before, a file beside this one: as pam(8) reads "other" for a service that it does not know."""
    directory = posixpath.dirname(call.path)
    own = (each for each in lately if posixpath.dirname(each.path) == directory)
    return next(own, None) if directory.startswith(_CONFIGURATION) and not call.failed else None
