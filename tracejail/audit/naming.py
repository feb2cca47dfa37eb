"""Which tool a base name is of. One expression for all rows takes 0.1 ms a name: most are plain words, and are looked up."""

from __future__ import annotations

import re
from functools import lru_cache

from .table import TOOLS, Tool

_PLAIN = re.compile(r"(?:[A-Za-z0-9_-]|\\[.+])+")
_START = re.compile(r"[A-Za-z0-9_-](?![?*{|])")
_Index = dict[str, list[tuple[re.Pattern[str], Tool]]]


def _alternatives(pattern: str) -> list[str]:
    """Those of an expression that stand outside of all parentheses."""
    found, depth, start = [], 0, 0
    for at, character in enumerate(pattern):
        depth += (character == "(") - (character == ")")
        if character == "|" and not depth:
            found.append(pattern[start:at])
            start = at + 1
    return [*found, pattern[start:]]


def _index() -> tuple[dict[str, Tool], _Index]:
    """The words, and the expressions by the first letter of what they match ("" where that is not one letter)."""
    words: dict[str, Tool] = {}
    expressions: _Index = {}
    for tool in TOOLS:
        for each in _alternatives(tool.names) if tool.names else ():
            if _PLAIN.fullmatch(each):
                words.setdefault(each.replace("\\", ""), tool)
            else:
                letter = each[0] if _START.match(each) else ""
                expressions.setdefault(letter, []).append((re.compile(each), tool))
    return words, expressions


_WORDS, _EXPRESSIONS = _index()


@lru_cache(1 << 16)
def by_name(name: str) -> Tool | None:
    """By a base name."""
    word = _WORDS.get(name)
    if word is not None:
        return word
    rows = (*_EXPRESSIONS.get(name[:1], ()), *_EXPRESSIONS.get("", ()))
    return next((tool for expression, tool in rows if expression.fullmatch(name)), None)
