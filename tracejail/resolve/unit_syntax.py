"""The syntax of unit files, from text to words: systemd.syntax(7), the command lines of systemd.service(5), the specifiers
of systemd.unit(5) and the environment files of systemd.exec(5). Pure: nothing of a host is asked.

What systemd passes over with a line in its log, as an unbalanced quote, is a Malformed here: the caller says so and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_SPACE = " \t\n\r"
_COMMENT = "#;"
_ESCAPES = dict(zip("abfnrtv\\\"'s", "\a\b\f\n\r\t\v\\\"' ", strict=True))
# An escape with digits: its letter, how many digits, their base. \x and octal ones are bytes, the others characters.
_NUMBERS = (("x", 2, 16, True), ("u", 4, 16, False), ("U", 8, 16, False), ("", 3, 8, True))
_VARIABLE = re.compile(r"\$(?:\$|\{([^}]*)\}|.?)", re.DOTALL)
_KEPT = "$MAINPID"  # a variable that has no value yet when the unit is read
_SHELL_ESCAPED = "\"\\`$"
_LONGEST_LINE = 1 << 20  # characters


class Malformed(Exception):
    """A value that systemd would pass over, and why."""


class Assignment(NamedTuple):
    """A line `key=value` of a section."""

    section: str
    key: str
    value: str


class CommandLine(NamedTuple):
    """A command of an Exec... setting: its words before variables are replaced, and what its prefixes ask for."""

    words: tuple[str, ...]
    may_fail: bool = False     # -
    own_name: str = ""         # @: what the program is to see as its own name
    verbatim: bool = False     # :, no variables
    full: bool = False         # +, all privileges
    as_root: bool = False      # !, the manager's user, or + as well


def assignments(text: str) -> Iterator[Assignment | str]:
    """The assignments of a unit file in their order; a line that is none comes as it is."""
    section = ""
    for line in _lines(text.removeprefix("\ufeff")):
        if line.startswith("["):
            section = line[1:-1] if line.endswith("]") else ""
            if not section:
                yield line
            continue
        key, equals, value = line.partition("=")
        if not equals or not section:
            yield line
        elif not section.startswith("X-") and not key.startswith("X-"):
            yield Assignment(section, key.strip(_SPACE), value.strip(_SPACE))


def _lines(text: str) -> Iterator[str]:
    """Lines with those that continue them, without comments: these may also stand amid continued lines."""
    whole = ""
    for line in re.split(r"\r\n|\n\r|\n|\r", text):
        if line.lstrip(_SPACE)[:1] in (*_COMMENT,):
            continue
        whole += line
        if (len(whole) - len(whole.rstrip("\\"))) % 2:
            whole = whole[:-1] + " "
            continue
        if stripped := whole.strip(_SPACE):
            yield stripped
        whole = ""
    if stripped := whole.strip(_SPACE):
        yield stripped


# --- words ------------------------------------------------------------------------------------------------------------


def split(text: str, lenient: bool = False) -> list[str]:
    """The words of a value, quotes taken away and escapes replaced. Raises Malformed for a quote without its other;
    `lenient` takes the end for it, and knows no escapes by letter."""
    found: list[str] = []
    position = 0
    while True:
        word, position = _word(text, position, lenient)
        if word is None:
            return found
        found.append(word)


def _word(text: str, position: int, lenient: bool = False) -> tuple[str | None, int]:
    """The next word from a position, or None, and where the one after it begins."""
    while position < len(text) and text[position] in _SPACE:
        position += 1
    if position >= len(text):
        return None, position
    made, quote = bytearray(), ""
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            position = _escape(text, position, made, lenient)
        elif quote:
            if character == quote:
                quote = ""
            else:
                made += _bytes(character)
        elif character in "'\"":
            quote = character
        elif character in _SPACE:
            break
        else:
            made += _bytes(character)
    if quote and not lenient:
        raise Malformed(f"unbalanced quotes: {text}")
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return made.decode("utf-8", "surrogateescape"), position


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _escape(text: str, position: int, made: bytearray, lenient: bool) -> int:
    """Add what the escape after a backslash stands for; gives where it ends. An unknown one stays as it is."""
    letter = text[position : position + 1]
    if lenient:
        made += _bytes(letter)
        return position + 1
    if letter in _ESCAPES:
        made += _bytes(_ESCAPES[letter])
        return position + 1
    for prefix, count, base, is_byte in _NUMBERS:
        start = position + len(prefix)
        digits = text[start : start + count]
        if text.startswith(prefix, position) and len(digits) == count and _is_number(digits, base):
            value = int(digits, base)
            if value and (value < 256 if is_byte else value < 0x110000 and not 0xD800 <= value < 0xE000):
                made += bytes((value,)) if is_byte else _bytes(chr(value))
                return start + count
    made += b"\\" + _bytes(letter)
    return position + 1


def _is_number(digits: str, base: int) -> bool:
    return not digits.lower().strip("0123456789abcdef"[:base])


# --- command lines ----------------------------------------------------------------------------------------------------


def commands(value: str, specifiers: Mapping[str, str]) -> list[CommandLine]:
    """The command lines of an Exec... value, which ` ; ` separates. Raises Malformed."""
    found: list[CommandLine] = []
    position = 0
    while True:
        first, position = _word(value, position)
        if first is None:
            return found
        name = first.lstrip("-@:+!")
        prefixes = first[: len(first) - len(name)]
        if not name:
            raise Malformed(f"no program: {value}")
        words = [expand(name, specifiers)]
        while position < len(value):
            if _alone(value, position, ";"):
                position += 1
                break
            if _alone(value, position, "\\;"):
                words.append(";")
                position += 2
                while position < len(value) and value[position] in _SPACE:
                    position += 1
                continue
            word, position = _word(value, position)
            if word is not None:
                words.append(expand(word, specifiers))
        own_name = words.pop(1) if "@" in prefixes and len(words) > 1 else ""
        # "!!" does nothing where there are ambient capabilities, as on all kernels that can be met here.
        as_root = "+" in prefixes or prefixes.count("!") == 1
        found.append(CommandLine(tuple(words), "-" in prefixes, own_name, ":" in prefixes, "+" in prefixes, as_root))


def _alone(value: str, position: int, text: str) -> bool:
    end = position + len(text)
    return value.startswith(text, position) and (end == len(value) or value[end] in _SPACE)


def substitute(line: CommandLine, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The words of a command with variables replaced: $NAME as a word of its own by the words of its value, ${NAME}
    anywhere by its value. $MAINPID stays, in this spelling: it is not known before the service runs."""
    if line.verbatim:
        return line.words
    known = {_KEPT[1:]: _KEPT, **environment}
    made = [line.words[0]]
    for word in line.words[1:]:
        if word[:1] == "$" and word[1:2] not in ("{", "$"):
            made += split(known.get(word[1:], ""), lenient=True)
        else:
            made.append(_VARIABLE.sub(lambda match: _value(match, known), word))
    return tuple(made)


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    return match[0] if match[1] is None else environment.get(match[1], "")


def expand(text: str, specifiers: Mapping[str, str]) -> str:
    """A text with its %x replaced; those that are not known stay as they are."""
    return re.sub("%(.)", lambda match: "%" if match[1] == "%" else specifiers.get(match[1], match[0]), text)


# --- environment files ------------------------------------------------------------------------------------------------


def environment_file(text: str) -> dict[str, str]:
    """The variables of an EnvironmentFile=, in their order. A line without "=" is passed over."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        line = re.split(r"[\n\r]", text[position : position + _LONGEST_LINE], maxsplit=1)[0]
        name, equals, _ = line.partition("=")
        name = name.strip(_SPACE)
        if not equals or line.lstrip(_SPACE)[0] in _COMMENT:
            position += len(line) + 1
            continue
        value, position = _file_value(text, text.index("=", position) + 1)
        found.pop(name, None)
        found[name] = value
    return found


def _file_value(text: str, position: int) -> tuple[str, int]:
    """A value from after its "=", and where the next line begins. Quotes count only before any bare character."""
    made, blanks, quote, bare = "", "", "", False
    while position < len(text):
        character = text[position]
        position += 1
        following = text[position : position + 1]
        if quote:
            if character == quote:
                quote = ""
            elif character == "\\" and quote == '"':
                position += 1
                if following in (*_SHELL_ESCAPED,):
                    made += following
                elif following != "\n":
                    made += "\\" + following
            else:
                made += character
        elif character in "\n\r":
            break
        elif character == "\\":
            bare, position = True, position + 1
            made, blanks = made + blanks + ("" if following in ("\n", "\r") else following), ""
        elif character in "'\"" and not bare:
            quote = character
        elif character in _SPACE:
            blanks += character if bare else ""
        else:
            made, blanks, bare = made + blanks + character, "", True
    return made, position
