"""All rules, in the order in which they are asked; a new rule is a function in a file of its family, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from . import execution, libraries, lookups
from .facts import Facts
from .finding import Finding


class Rule(NamedTuple):
    """A rule: `clear` is what can be said where it finds nothing."""

    find: Callable[[Facts], Iterable[Finding]]
    clear: str


RULES: tuple[Rule, ...] = (
    Rule(execution.named_program, "the program is there and can be executed"),
    Rule(execution.execution, "each program that was started has its interpreter, and the right architecture"),
    Rule(libraries.lost_libraries, "each library that was looked for was found"),
    Rule(libraries.unmapped_libraries, "the code of each library could be mapped"),
    Rule(libraries.other_versions, "no library is of another version"),
    Rule(libraries.static_libraries, "each library that a file names is where the loader looks"),
    Rule(lookups.parent, "each directory in which something was made is there"),
    Rule(lookups.absent, "nothing that the host has was looked for in vain"),
)


def findings(facts: Facts) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """What all rules find, and what is ruled out."""
    found: list[Finding] = []
    clear: list[str] = []
    for rule in RULES:
        own = list(rule.find(facts))
        found += own
        if not own:
            clear.append(rule.clear)
    return tuple(found), tuple(clear)
