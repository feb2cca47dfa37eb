"""Manifests of odd names whose entries have packages, were brought by one another, and of which some were denied."""

from __future__ import annotations

import dataclasses
import re

import hostile
from hypothesis import strategies as st
from nouns import manifest

from tracejail.export.request import Distribution, PackageFacts
from tracejail.model import Because, Entry, EntryType, Manifest, Origin, PathNote, Use, Written

_FOUND = [Origin.MISS, Origin.LISTING, Origin.ELF_NEEDED, Origin.INCLUDE, Origin.ARGV]
_PACKAGES = st.sampled_from([("a", "1"), ("liba2:amd64", "1:2.0-1+b~3"), ("liba2:i386", "1:2.0-1+b~3"), ("c++", "")])
_NAMED = st.one_of(_PACKAGES, _PACKAGES, st.tuples(hostile.names, st.one_of(st.just(""), hostile.names)))
_WORDS = st.one_of(st.just("start"), st.just("exercise"), hostile.names)


@st.composite
def graphs(draw: st.DrawFn) -> Manifest:
    """One of hostile.manifests, with all that pictures show."""
    jail = draw(hostile.manifests())
    paths = [one.path for one in jail.entries]
    packages = draw(st.lists(_NAMED, min_size=1, max_size=3))
    entries = [_told(draw, one, [str(path) for path in paths], packages) for one in jail.entries]
    because = Because("/" + draw(hostile.names), "openat", draw(hostile.names))
    notes = tuple(PathNote("/" + name, draw(hostile.names), because) for name in draw(st.lists(hostile.names, max_size=2)))
    written = tuple(Written(one.path, one.type, 0o755, 0, 0, Use.STATE) for one in jail.entries[:1])
    name = draw(hostile.names)
    return manifest(
        *entries, denied=notes, absent=notes, sockets=notes, written=written, warnings=(name,), listens=(f"unix:/{name}",),
        command=dataclasses.replace(jail.command, argv=("/" + name, name)),
    )


def _told(draw: st.DrawFn, one: Entry, paths: list[str], packages: list[tuple[str, str]]) -> Entry:
    package, version = draw(st.sampled_from([("", ""), *packages]))
    origin = one.origin if one.type in (EntryType.DIRECTORY, EntryType.SYMLINK) else draw(st.sampled_from(_FOUND))
    program = draw(st.one_of(st.sampled_from(paths), hostile.names.map(lambda name: "/" + name)))
    return dataclasses.replace(
        one, origin=origin, package=package, version=version, via=draw(st.sampled_from(["", *paths])),
        because=Because(program, "openat", draw(hostile.names)), phase=draw(_WORDS),
    )


def facts(name: str, version: str) -> PackageFacts:
    """What the host of these tests says of each package."""
    return PackageFacts("deb", "amd64", ("GPL-2+", "Expat", name or "x"))


def distribution() -> Distribution:
    """Whose host it is."""
    return Distribution("debian", "12")


def out_of_notation(notation: str) -> bytes:
    """A name out of the notation, by another way than it is made."""
    pieces = re.findall(r"\\x[0-9a-f]{2}|\\\\|[^\\]+", notation, re.DOTALL)
    assert "".join(pieces) == notation
    return b"".join(
        b"\\" if piece == "\\\\" else bytes.fromhex(piece[2:]) if piece[0] == "\\" else piece.encode() for piece in pieces
    )
