"""Words for a shell, whatever bytes a name has."""

from __future__ import annotations

import os
import shlex


def quoted(path: str) -> str:
    """One word for a shell; a name with control characters or bytes that are no text as $'...' of bash, ksh and zsh."""
    if path.isprintable() and "\\" not in path:
        return shlex.quote(path)
    plain = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@%,=: ")
    return "$'" + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)) + "'"
