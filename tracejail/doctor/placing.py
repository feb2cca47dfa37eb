"""Where an action is done: the jail may have links of its own on the way, and one that is absolute would lead a command that is
pasted outside, to a file of the host's. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from .facts import Facts
from .finding import Action, Finding, Kind

_NOWHERE = frozenset((Kind.CACHE, Kind.ADVICE))
_AT_THE_END = frozenset((Kind.MODE, Kind.OWNER, Kind.LINE, Kind.CHANGEABLE))   # of what a last link leads to


def settled(facts: Facts, finding: Finding) -> Finding:
    """The finding with the paths of its actions free of links, as the jail's own ways go."""
    actions = tuple(_settled(facts, action) for action in finding.actions)
    return replace(finding, actions=actions) if actions != finding.actions else finding


def _settled(facts: Facts, action: Action) -> Action:
    if action.kind in _NOWHERE or action.root or action.of_jail or action.path == "/":
        return action
    if action.kind in _AT_THE_END:
        path = facts.settled(action.path)
    else:
        above = facts.settled(posixpath.dirname(action.path) or "/")
        path = posixpath.join(above, posixpath.basename(action.path))
    if path == action.path:
        return action
    moved = action.kind in (Kind.COPY, Kind.TREE) and not action.source
    return replace(action, path=path, source=action.path if moved else action.source)
