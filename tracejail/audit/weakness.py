"""What audit finds, and the score that is made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How much it helps an intruder. The value is what one finding weighs in the score."""

    CRITICAL = 40    # the way out of the jail
    HIGH = 10        # a tool or a hole that makes of a break-in something worse
    MEDIUM = 4
    LOW = 1
    INFO = 0         # to be known, and not counted

    @property
    def word(self) -> str:
        return self.name.lower()

    @property
    def milder(self) -> Severity:
        """The next lower; INFO stays."""
        order = list(Severity)
        return order[min(order.index(self) + 1, len(order) - 1)]


MOST_OF_A_RULE = 10   # findings of one rule and severity that count


@dataclass(frozen=True, slots=True)
class Weakness:
    """One finding. `path` is as seen from the jail's root, or of the host where `outside`. `reason` says what an intruder has
    of it; `remedy` are commands to paste, or a sentence that begins with "#"."""

    rule: str
    severity: Severity
    path: str
    message: str
    reason: str
    evidence: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()
    outside: bool = False


def score(found: Iterable[Weakness]) -> int:
    """The sum of the weights; of one rule and severity the first ten count."""
    counts: dict[tuple[str, Severity], int] = {}
    for weakness in found:
        key = weakness.rule, weakness.severity
        counts[key] = counts.get(key, 0) + 1
    return sum(severity.value * min(count, MOST_OF_A_RULE) for (_, severity), count in counts.items())


def worst_first(found: Iterable[Weakness]) -> tuple[Weakness, ...]:
    """By severity, rule and path."""
    return tuple(sorted(found, key=lambda each: (-each.severity.value, each.rule, each.path)))
