"""What a process that runs already has of its root directory, as it stands. Nouns; nothing here looks at a machine."""

from __future__ import annotations

from dataclasses import dataclass

from tracejail.model import EntryType


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file, directory or device. `path` is as seen from the root, or where it is `outside` of that, as seen from the
    host. `deleted`: it has no name any more."""

    program: str
    number: int
    path: str
    outside: bool
    type: EntryType
    flags: int
    size: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file of the root that is mapped: the program, or a library. `deleted`: what has its name now, if anything, is
    another."""

    program: str
    path: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class Talk:
    """A connected socket: the path that the other side was bound to, as that spelled it, and as seen from the root ("" where
    it is not beneath that). `gone`: the other side has been closed."""

    program: str
    process: int
    number: int
    spelled: str
    path: str
    datagrams: bool
    gone: bool


@dataclass(frozen=True, slots=True)
class Held:
    """All of that, of a process and those that descend from it. `root` is the path of its root directory, "" where that has
    no name any more. `silent`: places of sockets that nobody is bound to, or where another thing is."""

    process: int
    root: str
    opened: tuple[Opened, ...] = ()
    loaded: tuple[Loaded, ...] = ()
    talks: tuple[Talk, ...] = ()
    silent: frozenset[str] = frozenset()
