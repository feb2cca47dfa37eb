"""Folded stacks, a line for each file: where it lies, name by name, and its size; what flamegraph.pl and its kin take.

A name is in the notation of text.py, with blanks, semicolons, quotes, < and > as \\xNN too, so that each is one frame to each
tool. A file of several names counts by the first of them. With --packages the package is the first frame, in parentheses.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracejail.model import EntryType

from .request import Request, parents_first
from .text import notation

ODD = "; <>'\""     # ends of a frame and of a stack; what flamegraph.pl makes "()" of, and puts into a script


def folded(request: Request) -> Iterator[bytes]:
    """The lines."""
    for entry in parents_first(request.manifest):
        if entry.type is not EntryType.FILE or entry.hard_link:
            continue
        frames = [notation(name, ODD) for name in entry.path.split("/")[1:]]
        if request.packages:
            frames.insert(0, f"({notation(entry.package, ODD)})" if entry.package else "no\\x20package")
        yield f"/;{';'.join(frames)} {entry.size}\n".encode()
