"""Directories that the program listed, getdents(2): who asks for their names, and in which manner. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from .facts import Call, Facts, Node

_LISTS = frozenset(("getdents", "getdents64", "readdir"))
_STICKY = 0o1000   # of a directory that all make files in: what is there is nobody's need


def listings(facts: Facts) -> Iterator[Call]:
    """The first call for each directory but the root, of which every jail has a part only."""
    seen = {"/"}
    for call in facts.calls():
        if call.name in _LISTS and not call.failed and call.path not in seen:
            seen.add(call.path)
            yield call


def comparable(facts: Facts) -> Iterator[tuple[Call, Node, Node]]:
    """Those that the jail and the host both have, as files of their own: the call, and the directory in either."""
    for call in listings(facts):
        here, there = facts.jail.way(call.path).found, facts.host.way(call.path).found
        if here is None or there is None or here.path == "/" or here.foreign or there.foreign or there.mode & _STICKY:
            continue
        yield call, here, there


def walked_through(facts: Facts) -> frozenset[tuple[str, str]]:
    """Programs, with directories above and beneath which they list others: who goes through a tree does not look for what
    one of its directories may hold."""
    listed = {
        (call.record.program, call.path.rstrip("/")) for call in facts.calls() if call.name in _LISTS and not call.failed
    }
    beneath = {(program, path) for program, path in listed if (program, posixpath.dirname(path)) in listed}
    return frozenset((*beneath, *((program, posixpath.dirname(path)) for program, path in beneath)))
