"""From the findings of all rules to the list that is shown: what says the same twice is told once, the likeliest first."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from .compared import aftermath, beside_the_point, noise, says_the_same
from .consequence import dies, stands_in
from .facts import Facts
from .finding import Confidence, Finding
from .placing import settled

_CONFIDENCE = {Confidence.CERTAIN: 200, Confidence.LIKELY: 100, Confidence.POSSIBLE: 0}
_NAMED, _NAMED_LAST = 60, 30   # its path, or the last part of it, stands in what the program said
_NAMED_PART, _LONG = 20, 8     # the rest of its last part after a mark, where that is so long: "remote-https"
_LAST = 40                     # it is the last failure before the end of the process that ended badly
_MARK = re.compile(r"[-_.]")
_SHORTEST = 4                  # characters of a name that is looked for by itself


def ranked(facts: Facts, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """In the order of likelihood."""
    explained = {call.order for finding in findings if not finding.general for call in finding.calls}
    explained |= {order for finding in findings if not finding.general for order in finding.claims}
    kept: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        if finding.general and finding.calls and all(call.order in explained for call in finding.calls):
            continue
        if finding.general and noise(facts, finding.calls):
            continue
        key = (finding.rule, finding.path)
        told = _weighed(facts, finding)
        if key not in kept or _CONFIDENCE[told.confidence] > _CONFIDENCE[kept[key].confidence]:
            kept[key] = settled(facts, told)
    last = _last(facts)
    said = facts.run.said if facts.run else ""
    order = sorted(kept.values(), key=lambda finding: _key(finding, dies(facts), last, said))
    return tuple(order)


def _weighed(facts: Facts, finding: Finding) -> Finding:
    """As sure as the comparison with the host leaves it."""
    if finding.confidence is not Confidence.LIKELY:
        return finding
    if aftermath(facts, finding.path) or (finding.general and beside_the_point(facts, finding.calls)):
        return replace(finding, confidence=Confidence.POSSIBLE)
    if finding.quiet and finding.general and says_the_same(facts):
        return replace(finding, confidence=Confidence.POSSIBLE)
    return finding


def _last(facts: Facts) -> set[int]:
    """The last call of each process that ended badly, of those that failed and do so in the jail alone."""
    if facts.run is None:
        return set()
    of_host = {call.order for call in facts.calls() if noise(facts, (call,)) or aftermath(facts, call.path)}
    left = ([order for order in failures if order not in of_host] for failures in facts.run.failures)
    return {failures[-1] for failures in left if failures}


def _key(finding: Finding, died: bool, last: set[int], said: str) -> tuple[bool, int, int]:
    points = _CONFIDENCE[finding.confidence] + finding.weight
    path = finding.inner or finding.path
    if path and stands_in(path, said):
        points += _NAMED
    elif len(os.path.basename(path)) >= _SHORTEST and stands_in(os.path.basename(path), said):
        points += _NAMED_LAST
    elif any(len(part) >= _LONG and part in said for part in _MARK.split(os.path.basename(path), 1)[1:]):
        points += _NAMED_PART
    if any(call.order in last for call in finding.calls):
        points += _LAST
    first = min((call.order for call in finding.calls), default=0)
    return died and finding.quiet, -points, first
