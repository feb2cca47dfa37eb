"""The `#!` line of a script, read as the kernel reads it."""

from __future__ import annotations

_BUFFER = 256  # BINPRM_BUF_SIZE, linux/binfmts.h


def interpreter_line(start: bytes) -> str | None:
    """The interpreter that the first line names, as fs/binfmt_script.c parses it: within 256 bytes, blanks around it
    left out, the rest of the line its one argument. None where the file is no script."""
    import os

    words = _words(start)
    return os.fsdecode(words[0]) if words else None


def interpreter_argument(start: bytes) -> str:
    """What follows the interpreter on the first line, as one argument; "" for none."""
    import os

    words = _words(start)
    return os.fsdecode(words[1]) if words and len(words) > 1 else ""


def _words(start: bytes) -> list[bytes] | None:
    if not start.startswith(b"#!"):
        return None
    line, newline, _ = start[2:_BUFFER].partition(b"\n")
    stripped = line.strip(b" \t")
    words = stripped.replace(b"\t", b" ").split(b" ", 1)
    if not newline and len(start) >= _BUFFER and len(words) < 2:
        return None  # cut within the interpreter's name: ENOEXEC
    return [word.strip(b" \t") for word in words] if words[0] else None
