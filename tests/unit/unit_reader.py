"""A small reader of systemd's unit files, after systemd.syntax(7), systemd.service(5) and the rules of 252's own reader."""

from __future__ import annotations

import os

_BLANK = " \t\n\r"
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34, "'": 39, "s": 32}


def settings(data: bytes) -> list[tuple[str, str, str]]:
    """Section, key and value of each assignment, in order."""
    text = data.decode("utf-8")
    assert "\r" not in text and "\0" not in text and text.endswith("\n")
    section, found = "", []
    for line in text[:-1].split("\n"):
        line = line.lstrip(_BLANK)
        if not line or line[0] in "#;":
            continue
        assert (len(line) - len(line.rstrip("\\"))) % 2 == 0, f"goes on in the next line: {line!r}"
        if line.startswith("["):
            section = line.strip()
            assert section in ("[Unit]", "[Service]", "[Socket]", "[Install]"), section
            continue
        key, equals, value = line.partition("=")
        assert equals and key.isalnum(), line
        found.append((section, key, value.strip(_BLANK)))
    return found


def plain(text: str) -> str:
    """A text whose specifiers are replaced, of which none is known but %%."""
    pieces = text.split("%%")
    assert not any("%" in piece for piece in pieces), text
    return "%".join(pieces)


def words(value: str, escapes: bool, separators: str = _BLANK) -> list[str]:
    """Words of a value, quotes taken away; `escapes`: backslashes as in C, else they only take a meaning away."""
    found: list[bytes] = []
    at, word, quote, begun = 0, bytearray(), "", False
    while at < len(value):
        letter = value[at]
        if letter == "\\":
            at += 1
            letter = value[at]
            begun = True
            if not escapes:
                word += os.fsencode(letter)
            elif letter == "x":
                word.append(int(value[at + 1 : at + 3], 16))
                assert word[-1]
                at += 2
            else:
                word.append(_ESCAPES[letter])
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word += os.fsencode(letter)
        elif letter in "\"'":
            quote, begun = letter, True
        elif letter in separators:
            if begun:
                found.append(bytes(word))
            word, begun = bytearray(), False
        else:
            word += os.fsencode(letter)
            begun = True
        at += 1
    assert not quote
    return [os.fsdecode(each) for each in ([*found, bytes(word)] if begun else found)]


def unescaped(text: str) -> str:
    """A text with backslashes as in C, and no quotes."""
    return "".join(words(text.replace('"', '\\"').replace("'", "\\'"), True, ""))


def command(value: str, main: str = "") -> tuple[str, list[str]]:
    """The prefixes and the words of a command; `main` is the value of $MAINPID, and no other variable is known."""
    assert ";" not in value.split(" "), value
    said = [plain(word) for word in words(value, True)]
    prefixes = said[0][: len(said[0]) - len(said[0].lstrip("-:!+@|"))]
    said[0] = said[0][len(prefixes) :]
    path = said[0]
    assert path.startswith("/") and not path.endswith("/") and not set(path) & {*"\"'\\\x7f", *map(chr, range(32))}, path
    if ":" not in prefixes:
        said = [_expanded(word, main) for word in said]
        assert said[0] == path
    return prefixes, said


def _expanded(word: str, main: str) -> str:
    pieces = word.split("$$")
    for index, piece in enumerate(pieces):
        pieces[index] = piece.replace("${MAINPID}", main)
        assert "$" not in pieces[index], word
    return "$".join(pieces)
