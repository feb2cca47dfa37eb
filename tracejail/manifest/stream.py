"""JSON read piece by piece: the elements of a long list come one at a time, so that neither the text nor the plain
values of a whole manifest are ever in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from json import JSONDecodeError, JSONDecoder

_PIECE = 1 << 18  # characters that are read at once, at least
_BLANKS = re.compile(r"[ \t\n\r]*")
_AFTER_VALUE = frozenset(",:]} \t\n\r")
_decode = JSONDecoder().raw_decode


class Reader:
    """A JSON text behind `read`, which gives the next characters (at most that many; "" at the end).

    All that reads raises ValueError for what is no JSON or cut short, and RecursionError.
    """

    def __init__(self, read: Callable[[int], str]) -> None:
        self._read = read
        self._text = ""
        self._at = 0
        self._line = 1       # of the start of `_text`
        self._ended = False
        self.plain = False   # the last value's text is ASCII without an escaped code point: no odd character is in it

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; the caller reads each one's value before it asks for the next."""
        self._take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise self._wrong("a key that is no string")
            self._take(":")
            yield key
            if self._take(",}") == "}":
                return

    def elements(self) -> Iterator[object]:
        """The elements of the list that begins here."""
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self._take(",]") == "]":
                return

    def value(self) -> object:
        """The value that begins here, whole."""
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except ValueError as error:
                # It may be the end of the piece that cut it short; what is wrong in itself stays so with more.
                if not self._more():
                    raise self._wrong(error.msg if isinstance(error, JSONDecodeError) else str(error)) from None
                continue
            # A number may go on behind the end of the piece.
            if (end < len(self._text) and self._text[end] in _AFTER_VALUE) or not self._more():
                text = self._text[self._at : end]
                self.plain = text.isascii() and "\\u" not in text
                self._at = end
                return value

    def peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            match = _BLANKS.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def finish(self) -> None:
        """Nothing but blanks may follow."""
        if self.peek():
            raise self._wrong("more behind its end")

    def _take(self, characters: str) -> str:
        character = self.peek()
        if not character or character not in characters:
            raise self._wrong(f"no {' or '.join(characters)}")
        self._at += 1
        return character

    def _more(self) -> bool:
        """Read on; false at the end. What is read at least doubles the rest, so that a value is not tried too often."""
        piece = "" if self._ended else self._read(max(_PIECE, len(self._text) - self._at))
        self._ended = not piece
        if piece:
            self._line += self._text.count("\n", 0, self._at)
            self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"{what}, line {self._line + self._text.count(chr(10), 0, self._at)}")
