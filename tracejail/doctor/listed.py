"""Directories that the program listed, getdents(2): who asks for their names, and in which manner. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from .facts import Call, Facts, Node

_LISTS = frozenset(("getdents", "getdents64", "readdir"))
_STICKY = 0o1000   # of a directory that all make files in: what is there is nobody's need


class Listing(NamedTuple):
    """A directory that was listed: the call, and the path by which the program had opened it, links of the jail's in it."""

    call: Call
    path: str


def listings(facts: Facts) -> Iterator[Listing]:
    """The first of each directory but the root, of which every jail has a part only."""
    seen = {"/"}
    asked: dict[str, str] = {}
    for call in facts.calls():
        if call.opens and not call.failed and call.path:
            asked.setdefault(facts.settled(call.path), call.path)
        elif call.name in _LISTS and not call.failed and call.path not in seen:
            seen.add(call.path)
            yield Listing(call, asked.get(call.path, call.path).rstrip("/"))


def comparable(facts: Facts) -> Iterator[tuple[Listing, Node, Node]]:
    """Those that the jail and the host both have, as files of their own: the listing, and the directory in either."""
    for each in listings(facts):
        here, there = facts.jail.way(each.path).found, facts.host.way(each.path).found
        if here is None or there is None or here.path == "/" or here.foreign or there.foreign or there.mode & _STICKY:
            continue
        yield each, here, there


def walked_through(facts: Facts) -> frozenset[tuple[str, str]]:
    """Programs, with directories (as the calls name them) above and beneath which they list others: who goes through a tree
    does not look for what one of its directories may hold."""
    listed = {(call.record.program, call.path) for call in facts.calls() if call.name in _LISTS and not call.failed}
    beneath = {(program, path) for program, path in listed if (program, posixpath.dirname(path)) in listed}
    return frozenset((*beneath, *((program, posixpath.dirname(path)) for program, path in beneath)))
