"""What came of a call that failed: whether the program said so, ended of it, or helped itself. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from .facts import Call, Facts
from .finding import Confidence

_SHORTEST = 4   # characters of a name that says something by itself
_NOT_FOUND = re.compile(r"no such file|file not found|(?:cannot|can't|unable to) (?:open|load|read|find)", re.IGNORECASE)
_LAST = 3       # failures before the end of a process that may be its reason


def dies(facts: Facts) -> bool:
    """Whether the run did not end, or serve, as it should."""
    return facts.run is not None and not facts.run.healthy


def mentioned(facts: Facts, calls: Sequence[Call]) -> bool:
    """Whether the program said the path of one of them, or its last name; one that lives, in a complaint, and of a last name
    that is a word as any other nothing follows."""
    if facts.run is None:
        return False
    lives = facts.run.healthy
    text = facts.run.complaints if lives else facts.run.said
    paths = {call.path for call in calls if len(call.path) >= _SHORTEST}
    names = {posixpath.basename(path) for path in paths}
    words = paths | {name for name in names if len(name) >= _SHORTEST and not (lives and name.isalpha())}
    return any(stands_in(word, text) for word in words)


def stands_in(word: str, text: str) -> bool:
    """Whether a name stands in a text by itself, and not as a part of a longer one."""
    at = text.find(word)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(word) : at + len(word) + 2]
        if not _goes_on(before) and not _goes_on(after[:1]) and not (after[:1] == "." and _goes_on(after[1:])):
            return True
        at = text.find(word, at + 1)
    return False


def _goes_on(character: str) -> bool:
    return character.isalnum() or character in ("_", "-")


def complains(facts: Facts) -> bool:
    """Whether the program said that it found some file not, and not which."""
    return facts.run is not None and any(_NOT_FOUND.search(line) and "/" not in line for line in facts.run.said.splitlines())


def fatal(facts: Facts, calls: Sequence[Call]) -> bool:
    """Whether a process that ended badly did so right after one of them: they are among its last failures."""
    if facts.run is None:
        return False
    orders = {call.order for call in calls}
    return any(orders & set(failures[-_LAST:]) for failures in facts.run.failures)


def matters(facts: Facts, calls: Sequence[Call]) -> bool:
    """Whether something came of them."""
    return mentioned(facts, calls) or (dies(facts) and fatal(facts, calls))


def lost_later(facts: Facts, calls: Sequence[Call]) -> bool:
    """Whether the program could open before what it can't now: a log, at its rotation, after a change of user or root."""
    first = {call.path: call.order for call in reversed(calls)}
    return any(
        not call.failed and call.opens and call.path in first and call.order < first[call.path]
        for call in facts.calls()
    )


def weighed(facts: Facts, calls: Sequence[Call]) -> tuple[Confidence, bool]:
    """How sure it is that they are a cause, and whether nothing came of them."""
    return (Confidence.LIKELY, False) if matters(facts, calls) else (Confidence.POSSIBLE, True)


def helped_itself(facts: Facts, path: str, call: Call) -> bool:
    """Whether a path that was not there was made by the program, after the call that missed it."""
    return facts.made.get(facts.settled(path), (0, 0))[1] > call.order
