"""Versions of Debian packages, ordered as deb-version(7) says."""

from __future__ import annotations

import re
from itertools import zip_longest

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_FIRST, _END, _LETTER = -1, 0, 1 << 9   # "~" sorts before the end of a part, the end before a letter, letters before all else


def compare(one: str, other: str) -> int:
    """Less than 0 where `one` is the earlier, 0 where they are the same, else more."""
    first, second = split(one), split(other)
    return _numbers(first[0], second[0]) or _compare(first[1], second[1]) or _compare(first[2], second[2])


def split(version: str) -> tuple[str, str, str]:
    """Epoch, upstream version and Debian revision; no revision is the same as "0"."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not epoch.isascii() or not epoch.isdigit():
        epoch, rest = "0", version.strip()
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, rest, "")


def _compare(one: str, other: str) -> int:
    pairs = zip_longest(_PARTS.findall(one), _PARTS.findall(other), fillvalue=("", ""))
    for (words, digits), (other_words, other_digits) in pairs:
        for character, against in zip_longest(words, other_words, fillvalue=""):
            if difference := _weight(character) - _weight(against):
                return difference
        if difference := _numbers(digits, other_digits):
            return difference
    return 0


def _numbers(one: str, other: str) -> int:
    """By their digits: int() refuses those of which somebody has written thousands."""
    first, second = one.lstrip("0"), other.lstrip("0")
    mine, theirs = (len(first), first), (len(second), second)
    return (mine > theirs) - (mine < theirs)


def _weight(character: str) -> int:
    if not character:
        return _END
    if character == "~":
        return _FIRST
    return ord(character) if character.isascii() and character.isalpha() else ord(character) + _LETTER
