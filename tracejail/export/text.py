"""Names in formats that are text: JSON of ASCII only, and a notation for formats that can't say every name.

The notation: a byte that is no UTF-8, and each byte of a character that can't be printed or that changes the direction of
text, as \\xNN; a backslash as two. So each name has one spelling, and two names never have the same.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tracejail.errors import ExportError

_LAST = 253402300799      # 9999-12-31T23:59:59Z


def notation(text: str, more: str = "") -> str:
    """The text in the notation; `more` are further characters that it may not hold, as blanks."""
    if text.isascii() and text.isprintable() and "\\" not in text and not any(character in text for character in more):
        return text
    return "".join(_noted(character, more) for character in text)


def _noted(character: str, more: str) -> str:
    if character == "\\":
        return "\\\\"
    # Not printable are controls, direction marks, blanks but the plain one, and surrogates that stand for a byte.
    if character.isprintable() and character not in more:
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def is_text(name: str) -> bool:
    """Whether a name is UTF-8."""
    return name.isascii() or not any("\udc80" <= character <= "\udcff" for character in name)


def named(name: str) -> str:
    """A name as it is where it is UTF-8, else in the notation."""
    return name if is_text(name) else notation(name)


def json_text(value: Any, indent: int | None = 1) -> Iterator[bytes]:
    """JSON of printable ASCII only, so that no name reaches a terminal as an escape sequence."""
    separators = None if indent else (",", ":")
    encoder = json.JSONEncoder(ensure_ascii=True, indent=indent, separators=separators, allow_nan=False)
    for piece in encoder.iterencode(value):
        yield piece.replace("\x7f", "\\u007f").encode("ascii")
    yield b"\n"


def moment(epoch: int) -> str:
    """Seconds as a date and time in UTC. Raises ExportError."""
    if not 0 <= epoch <= _LAST:
        raise ExportError(f"{epoch}: a time after the year 9999 can't be said", "set SOURCE_DATE_EPOCH to another number")
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def quoted(text: str) -> str:
    """Percent-encoded, byte by byte, as canonical package URLs have it."""
    return urllib.parse.quote(os.fsencode(text), safe=":")
