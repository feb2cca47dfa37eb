"""Plain lists of paths, parents before children, with each link on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tracejail.errors import ExportError

from .request import Request, parents_first


def list_lines(request: Request) -> Iterator[bytes]:
    """One path a line."""
    entries = parents_first(request.manifest)
    for entry in entries:
        if "\n" in entry.path:
            raise ExportError(f"{entry.path!r}: a line can't hold this name", "take the NUL form: list -0, export list0")
    return (os.fsencode(entry.path) + b"\n" for entry in entries)


def list_nul(request: Request) -> Iterator[bytes]:
    """Paths ended by NUL."""
    return (os.fsencode(entry.path) + b"\0" for entry in parents_first(request.manifest))


def rsync(request: Request) -> Iterator[bytes]:
    """Paths without their leading slash, ended by NUL: `--files-from` takes them as relative to the source, and makes the
    directories that it finds in the list with their own attributes; "./" before each keeps a leading dash or colon a name."""
    return (b"./" + os.fsencode(entry.path[1:]) + b"\0" for entry in parents_first(request.manifest))
