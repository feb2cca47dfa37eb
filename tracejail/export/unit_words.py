"""Words of systemd.syntax(7) and systemd.service(5): quotes, escapes, "%" and "$", and what they have no way to say."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from tracejail.errors import ExportError

from .box import no_text

_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_@+=,./-]+")   # a colon ends one path, and another begins
_UNIT_NAME = re.compile(r"[A-Za-z0-9_.@:-]{1,200}")
_MAIN = "$MAINPID"


def escaped(text: str) -> str:
    """A word in quotes where backslash escapes are known, as in commands."""
    if _PLAIN.fullmatch(text):
        return text
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\%' else _escape(byte) for byte in os.fsencode(text))
    return f'"{"".join(plain)}"'


def _escape(byte: int) -> str:
    return {0x22: '\\"', 0x5C: "\\\\", 0x25: "%%"}.get(byte, f"\\x{byte:02x}")


def quoted(text: str, path: str) -> str:
    """A word in quotes where a backslash only takes the meaning from the next character, as in lists of paths. `path` is
    named where it can't be said."""
    _refuse_unless_line(text, path)
    if _PLAIN_PATH.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def to_the_end(path: str) -> str:
    """A path that takes all of a line, where there are no quotes and no escapes."""
    _refuse_unless_line(path, path)
    if path != path.strip() or path.endswith("\\"):
        raise ExportError(f"{path!r}: a unit can't hold a path with this end", "give the directory another name")
    return path.replace("%", "%%")


def _refuse_unless_line(text: str, path: str) -> None:
    if no_text(text) or "\n" in text or "\r" in text:
        raise ExportError(f"{path!r}: a unit can't hold this name", "a name of text without line breaks can be said")


def command_line(words: Sequence[str], prefix: str = "", main: bool = False) -> str:
    """A command. `main`: $MAINPID in a word stays a variable, as in a step beside the service."""
    path = words[0]
    if not path.startswith("/") or path.endswith("/") or no_text(path) or re.search(r"[\x00-\x1f\x7f\"'\\]", path):
        raise ExportError(f"{path!r}: systemd takes no program of this name", "a path of text without quotes can be said")
    said = [escaped(word) for word in words]
    if any("$" in word for word in words):
        if not main or not any(_MAIN in word for word in words):
            prefix += ":"   # nothing is a variable
        elif "$" in path:
            raise ExportError(f"{path!r}: systemd would not find this program beside {_MAIN}", "give it a name without $")
        else:
            said = ["${MAINPID}".join(part.replace("$", "$$") for part in word.split(_MAIN)) for word in said]
    return " ".join([prefix + said[0], *said[1:]])


def unit_name(name: str, argv: Sequence[str]) -> str:
    """What the unit is called, without its ending."""
    found = (name or argv[0].rpartition("/")[2]).removesuffix(".service").removesuffix(".socket")
    if not _UNIT_NAME.fullmatch(found):
        raise ExportError(f"{found!r}: not the name of a unit", "say one: --name NAME")
    return found
