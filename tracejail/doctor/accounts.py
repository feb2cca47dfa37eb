"""Accounts: the jail's passwd and group are read, and have no line for the one that is asked for. No call fails of that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .consequence import dies
from .facts import Call, Facts
from .finding import Action, Confidence, Finding, Kind

_MOST = 1 << 20    # bytes of such a file
# A name; a number where it is said to be one of a user or a group.
_WORD = re.compile(r"(?<![\w/.-])[A-Za-z_][A-Za-z0-9_.-]*\$?|(?<=\bid )\d+|(?<=\b[ug]id )\d+|(?<=\b[ug]id=)\d+", re.IGNORECASE)


class _File(NamedTuple):
    path: str
    what: str
    about: re.Pattern[str]    # a line that speaks of one


_SAID = 70   # as much as rank gives for a path that was said: the program names the line
_FILES = (
    _File("/etc/passwd", "account", re.compile(r"user|account|owner|getpw|uid|passwd|login|privilege", re.IGNORECASE)),
    _File("/etc/group", "group", re.compile(r"group|getgr|gid", re.IGNORECASE)),
)


def accounts(facts: Facts) -> Iterator[Finding]:
    """A name, or a number, that the program spoke of, and that is in the host's file only."""
    lines = facts.run.said.splitlines() if facts.run else []
    for file in _FILES:
        calls = tuple(_read(facts, file.path))
        if not calls or facts.jail.way(file.path).found is None:
            continue
        here, there = _entries(facts.jail.start(file.path, _MOST)), _entries(facts.host.start(file.path, _MOST))
        told: set[str] = set()
        for line in lines:
            if not file.about.search(line):
                continue
            for word in _WORD.findall(line):
                entry = there.get(word.rstrip("."), "")
                if not entry or entry in told or word.rstrip(".") in here:
                    continue
                told.add(entry)
                loud = dies(facts)
                yield Finding(
                    "account", Confidence.LIKELY if loud else Confidence.POSSIBLE, file.path,
                    f"{file.path} of the jail has no line for the {file.what} {word.rstrip('.')}, and the host's has one",
                    (Action(Kind.LINE, file.path, text=entry),), calls, evidence=(line.strip()[:200],), weight=_SAID,
                    quiet=not loud,
                )


def _read(facts: Facts, path: str) -> Iterator[Call]:
    for call in facts.calls():
        if call.path == path and not call.failed and call.opens:
            yield call
            return


def _entries(text: bytes) -> dict[str, str]:
    """Lines by the name, and by the number, that each is for; the first of a number counts."""
    found: dict[str, str] = {}
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] and not fields[0].startswith(("#", "+", "-")):
            found[fields[0]] = line
            found.setdefault(fields[2], line)
    return found
