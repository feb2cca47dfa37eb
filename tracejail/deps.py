"""The use case `deps`: what files need by what they say themselves. Executes nothing."""

from __future__ import annotations

import os

from tracejail.model import EntryType, JailPath
from tracejail.resolve.closure import Dependency, closure
from tracejail.resolve.elf import ElfFacts
from tracejail.resolve.host import HostRoot, inspect, open_host_root
from tracejail.trial.walk import Found, Place, walk


def deps(root: str, paths: list[str]) -> list[Dependency]:
    """The closure of `paths` beneath `root`. Raises UsageError, InputOutputError."""
    absolute = [path if path.startswith("/") or root != "/" else os.path.join(os.getcwd(), path) for path in paths]
    return closure_of(open_host_root(root), ["/" + path.lstrip("/") for path in absolute])


def closure_of(host: HostRoot, paths: list[str], known: dict[str, ElfFacts | None] | None = None) -> list[Dependency]:
    """The closure of absolute `paths` of a host root; `known` as in closure(). Raises InputOutputError."""

    def look(at: str) -> Found | None:
        node = inspect(host, JailPath(at))
        return Found(node.type, node.target) if node else None

    def follow(path: str) -> tuple[str, list[str]] | None:
        found = walk("/", "/", path, True, False, look, lambda _: None)
        if found.place is not Place.FOUND:
            return None
        return found.path, [hop.path for hop in found.hops if hop.type is EntryType.SYMLINK]

    return closure(host, paths, follow, known)
