"""What the jail lacks and the host has, where no other rule knows more of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tracejail.model import EntryType, Want

from .consequence import dies, mentioned
from .facts import GONE, Call, Facts
from .finding import Confidence, Finding
from .remedies import bring, bring_tree, make_directory

_INDEXES = frozenset(("/etc/ld.so.cache",))   # what is in no index is looked for: a library that is lost has a rule
_OF_CALLER = frozenset(("PWD", "OLDPWD"))      # of the shell that called doctor


def absent(facts: Facts) -> Iterator[Finding]:
    """A path that is not in the jail, and is on the host."""
    left_over = {value for name, value in facts.environment if name in _OF_CALLER}
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        argument = call.record.arguments[-1] if call.record.arguments else None
        if argument is None or argument.want not in (Want.OBJECT, Want.LIST) or call.name.startswith("exec"):
            continue
        found.setdefault(call.path, []).append(call)
    for path, calls in found.items():
        way = facts.host.way(path)
        if way.found is None or way.found.type is EntryType.SOCKET or any(hop.foreign for hop in way.hops):
            continue
        if path in _INDEXES or path in left_over or facts.harmless(path):
            continue
        here = facts.jail.way(path)
        if here.found is not None:
            continue  # the program made it itself, later
        listed = way.found.type is EntryType.DIRECTORY
        actions = bring_tree(facts, path) if listed else bring(facts, path)
        if facts.dangles(path, here):
            message = f"{path} is a link that leads to {here.lead}, which the jail lacks"
            stop, rule = here.lead, "dangling-link"
        else:
            message, stop, rule = f"{path} is not in the jail, and the host has it", path, "absent"
        matters = dies(facts) or mentioned(facts, calls)
        confidence = Confidence.LIKELY if matters else Confidence.POSSIBLE
        yield Finding(rule, confidence, stop, message, actions, tuple(calls), quiet=not matters, general=True)


def parent(facts: Facts) -> Iterator[Finding]:
    """Something is to be made in a directory that is not there."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        argument = call.record.arguments[-1] if call.record.arguments else None
        if argument is None or argument.want is not Want.CREATE:
            continue
        directory = os.path.dirname(call.path.rstrip("/")) or "/"
        if facts.jail.way(directory).found is None:
            found.setdefault(directory, []).append(call)
    for directory, calls in found.items():
        first = next((above for above in _from_top(directory) if facts.jail.way(above).found is None), directory)
        made = calls[0].path
        yield Finding(
            "parent", Confidence.LIKELY, directory,
            f"{directory} is not in the jail, and {calls[0].record.program} wants to make {os.path.basename(made)} in it",
            make_directory(facts, directory, uid=facts.uid, gid=facts.gid), tuple(calls), weight=10, general=True,
            evidence=(f"{first}: not there",) if first != directory else (),
        )


def _from_top(path: str) -> Iterator[str]:
    above = ""
    for part in path.strip("/").split("/"):
        above += "/" + part
        yield above
