"""What a terminal may see of a name that a target, a file system or a manifest made up."""

from __future__ import annotations

# Controls that change the direction of text, so that a name may look like another one.
_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escape(text: str) -> str:
    """The text with control characters, undecodable bytes and direction controls as \\xNN or \\uNNNN."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_plain(character) else _escaped(character) for character in text)


def _is_plain(character: str) -> bool:
    import unicodedata  # most names are plain ASCII and never come here

    if character in _BIDIRECTIONAL:
        return False
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8, by surrogateescape
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def escape_text(data: bytes) -> str:
    """A program's own output: lines and tabs stay, all else as `escape` has it."""
    text = data.decode("utf-8", "surrogateescape")
    return "\n".join("\t".join(escape(part) for part in line.split("\t")) for line in text.split("\n"))
