"""Directories that are read, and then looked up in: what is not among the names is never missed by a call."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracejail.model import EntryType

from .facts import Facts
from .finding import Confidence, Finding
from .listed import listings
from .remedies import bring_tree

_SHORTEST = 3                            # characters of a name that says something
_QUOTED = re.compile(r"['\"`\u2018]([A-Za-z0-9_][\w.+-]*)['\"\u2019]")   # a name, as messages have it
_WHOLE = re.compile(r"[A-Za-z0-9_][\w+-]*\.[\w.+-]*\w")                     # or with its suffix


def unlisted(facts: Facts) -> Iterator[Finding]:
    """A name that the program said, that a directory which it read has on the host and not in the jail. The name may be said
    without its suffix, as that of a module is."""
    if facts.run is None or facts.run.healthy:
        return
    quoted = set(_QUOTED.findall(facts.run.said))
    words = {*quoted, *_WHOLE.findall(facts.run.said), *(part for word in quoted for part in word.split("."))}
    words = {word for word in words if len(word) >= _SHORTEST}
    for call, asked in listings(facts):
        here, there = set(facts.jail.names(asked)), facts.host.names(asked)
        for name in there:
            stem = name.partition(".")[0]
            if name in here or not (name in words or (stem in words and len(stem) >= _SHORTEST)):
                continue
            if any(other.partition(".")[0] == stem for other in here):
                continue
            path = f"{asked}/{name}"
            node = facts.host.node(path)
            kind = "directory" if node is not None and node.type is EntryType.DIRECTORY else "file"
            yield Finding(
                "unlisted", Confidence.LIKELY, path,
                f"{path}, a {kind} of the host, is not in the jail: {call.record.program} reads the names of {asked}, and "
                f"says {name if name in words else stem}", bring_tree(facts, path), (call,), weight=15,
            )
