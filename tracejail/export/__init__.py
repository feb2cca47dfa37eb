"""File lists for other tools: a format is a function from a manifest to bytes, one file each, and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracejail.model import Manifest

from .lists import list_lines, list_nul


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what it is and which command takes it, in a line, and the function that makes it."""

    about: str
    make: Callable[[Manifest], bytes]


FORMATS: dict[str, Format] = {
    "list": Format("one path a line, parents first; for people, and for tools without odd names", list_lines),
    "list0": Format("paths ended by NUL, parents first; tar --null -T, xargs -0, cpio -0", list_nul),
}
