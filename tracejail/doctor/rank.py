"""From the findings of all rules to the list that is shown: what says the same twice is told once, the likeliest first."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .facts import Call, Facts
from .finding import Confidence, Finding

_CONFIDENCE = {Confidence.CERTAIN: 200, Confidence.LIKELY: 100, Confidence.POSSIBLE: 0}
_NAMED, _NAMED_LAST = 60, 30   # its path, or the last part of it, stands in what the program said
_LAST = 40                     # it is the last failure before the end of the process that ended badly
_SHORTEST = 4                  # characters of a name that is looked for by itself


def ranked(facts: Facts, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """In the order of likelihood."""
    explained = {call.order for finding in findings if not finding.general for call in finding.calls}
    explained |= {order for finding in findings if not finding.general for order in finding.claims}
    kept: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        if finding.general and finding.calls and all(call.order in explained for call in finding.calls):
            continue
        key = (finding.rule, finding.path)
        if key not in kept:
            kept[key] = finding
    dies = facts.run is not None and not facts.run.healthy
    last = _last_failures(facts)
    said = facts.run.said if facts.run else ""
    order = sorted(kept.values(), key=lambda finding: _key(finding, dies, last, said))
    return tuple(order)


def _key(finding: Finding, dies: bool, last: set[int], said: str) -> tuple[bool, int, int]:
    points = _CONFIDENCE[finding.confidence] + finding.weight
    if finding.path and finding.path in said:
        points += _NAMED
    elif len(os.path.basename(finding.path)) >= _SHORTEST and os.path.basename(finding.path) in said:
        points += _NAMED_LAST
    if any(call.order in last for call in finding.calls):
        points += _LAST
    first = min((call.order for call in finding.calls), default=0)
    return dies and finding.quiet, -points, first


def _last_failures(facts: Facts) -> set[int]:
    """Of each process that ended badly the last call that failed."""
    if facts.run is None:
        return set()
    found = set()
    for end in facts.run.ends:
        if end.status:
            own = [call for call in facts.run.calls if call.record.process == end.process and call.failed]
            if own:
                found.add(own[-1].order)
    return found


def named(facts: Facts, call: Call) -> bool:
    """Whether the program said the path of a call."""
    return bool(facts.run and call.path and call.path in facts.run.said)
