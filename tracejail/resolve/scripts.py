"""The `#!` line of a script, read as the kernel reads it (load_script in fs/binfmt_script.c)."""

from __future__ import annotations

import os
import re

_BUFFER = 256  # BINPRM_BUF_SIZE, linux/binfmts.h; a shorter file is followed by zeros
_TERMINATOR = re.compile(rb"[ \t\0]")


def interpreter_line(start: bytes) -> str | None:
    """The interpreter that the first line names, as it is spelled (it may be relative); None where the kernel takes
    the file for no script (ENOEXEC). `start` is the beginning of the file, 256 bytes of it or more."""
    words = _words(start)
    return os.fsdecode(words[0]) if words else None


def interpreter_argument(start: bytes) -> str:
    """What follows the interpreter on the first line, as one argument; "" for none."""
    words = _words(start)
    return os.fsdecode(words[1]) if words else ""


def _words(start: bytes) -> tuple[bytes, bytes] | None:
    if not start.startswith(b"#!"):
        return None
    buffer = start[:_BUFFER].ljust(_BUFFER, b"\0")
    line, newline, _ = buffer[2:].partition(b"\n")
    if not newline:
        # A name that no blank or NUL ends may have been cut short: the kernel does not guess.
        if not _TERMINATOR.search(line.lstrip(b" \t")):
            return None
        line = line[:-1]  # the last byte of the buffer is never part of a word
    line = line.strip(b" \t")
    end = _TERMINATOR.search(line)
    name = line[: end.start()] if end else line
    if not name:
        return None
    # A NUL ends the name and with it the line: what follows it is no argument.
    rest = line[end.end():] if end and end.group() != b"\0" else b""
    return name, rest.lstrip(b" \t").split(b"\0")[0]
