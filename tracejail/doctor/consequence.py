"""What came of a call that failed: whether the program said so, or ended of it. Pure."""

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
    """Whether the program said the path of one of them, or its last name."""
    if facts.run is None:
        return False
    said = facts.run.said
    words = {word for call in calls for word in (call.path, posixpath.basename(call.path)) if len(word) >= _SHORTEST}
    return any(word in said and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said) for word in words)


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
        not call.failed and call.name.startswith("open") and call.path in first and call.order < first[call.path]
        for call in facts.calls()
    )


def weighed(facts: Facts, calls: Sequence[Call]) -> tuple[Confidence, bool]:
    """How sure it is that they are a cause, and whether nothing came of them."""
    return (Confidence.LIKELY, False) if matters(facts, calls) else (Confidence.POSSIBLE, True)
