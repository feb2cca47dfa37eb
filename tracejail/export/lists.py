"""Plain lists of paths."""

from __future__ import annotations

import os

from tracejail.errors import UsageError
from tracejail.model import Manifest


def _paths(manifest: Manifest) -> list[str]:
    return sorted((entry.path for entry in manifest.entries), key=lambda path: path.split("/"))


def list_lines(manifest: Manifest) -> bytes:
    """One path a line, parents before children. Raises UsageError for a name that a line can't hold."""
    for path in _paths(manifest):
        if "\n" in path:
            raise UsageError(f"{path!r}: a line can't hold this name", "take the NUL form: list -0, export list0")
    return b"".join(os.fsencode(path) + b"\n" for path in _paths(manifest))


def list_nul(manifest: Manifest) -> bytes:
    """Paths ended by NUL, parents before children."""
    return b"".join(os.fsencode(path) + b"\0" for path in _paths(manifest))
