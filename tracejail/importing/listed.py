"""What a list says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracejail.errors import UsageError


@dataclass(frozen=True, slots=True)
class Listed:
    """The paths of a list, as it spells them, and what goes with them."""

    paths: tuple[str, ...]
    whole: bool = False                 # a directory stands for all that is in it
    libraries: bool = False             # what a file is linked with comes along, unsaid
    patterns: bool = False              # a path may be a pattern of glob(7), or a program's name
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()   # path, SHA-256: what the list says of a file's content


@dataclass(frozen=True, slots=True)
class ListFormat:
    """A format of lists: what it is, and the function that reads it. That raises UsageError."""

    about: str
    read: Callable[[bytes, str, str], Listed]   # the data, how it is called in messages, a section's name or ""


def wrong(where: str, line: int, text: str) -> UsageError:
    """The error for a line that can't be what it should be."""
    return UsageError(f"{where}: line {line}: {text}", "tracejail import shows the formats that there are")
