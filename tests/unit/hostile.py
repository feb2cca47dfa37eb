"""Names that a line, a quote or a glob of some format may take for something else; and manifests made of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from nouns import device, directory, entry, link, manifest

from tests.odd_names import NAMES
from tracejail.export.formats import FORMATS
from tracejail.export.request import Request
from tracejail.model import Entry, EntryType, JailPath, Manifest

EXAMPLES = settings(max_examples=int(os.environ.get("EXAMPLES", "25")), deadline=None)   # 1,000 of each in CI
_ALPHABET = st.characters(min_codepoint=1, max_codepoint=0x2FF, exclude_characters="/")
_BYTES = st.binary(min_size=1, max_size=12).map(lambda data: os.fsdecode(data.replace(b"/", b"_").replace(b"\0", b"_")))


def _is_name(name: str) -> bool:
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return False
    return name not in (".", "..") and 0 < size <= 255 and os.fsdecode(os.fsencode(name)) == name


names = st.one_of(st.sampled_from(NAMES), st.text(_ALPHABET, min_size=1, max_size=12), _BYTES).filter(_is_name)


def bytes_of(path: str) -> bytes:
    """The content that a file of this path has in these tests."""
    return b"of " + os.fsencode(path) + b"\n"


def file(path: str, **fields: Any) -> Entry:
    """A regular file with that content."""
    data = bytes_of(fields.get("hard_link") or path)
    return entry(path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), mtime_ns=1_700_000_000_123_456_789, **fields)


@st.composite
def manifests(draw: st.DrawFn, xattrs: bool = False, devices: bool = True, links: bool = True) -> Manifest:
    """A jail of a few odd names: directories, files, links that lead to odd targets, hard links, a device."""
    found: dict[str, Entry] = {}
    directories = [""]
    for name in draw(st.lists(names, min_size=1, max_size=6)):
        above = draw(st.sampled_from(directories))
        path = f"{above}/{name}"
        if path in found:
            continue
        kinds = ["file", "directory", *(["link", "hard"] if links else []), *(["device"] if devices else [])]
        mode = draw(st.sampled_from((0o644, 0o755, 0o4755, 0o600, 0o1777, 0o000)))
        match draw(st.sampled_from(kinds)):
            case "directory":
                found[path] = directory(path, mode=mode)
                directories.append(path)
            case "link":
                found[path] = link(path, draw(st.one_of(names, st.just("../" + name), st.just("/" + name))))
            case "device":
                found[path] = device(path, draw(st.integers(0, 4095)), draw(st.integers(0, 255)), uid=draw(st.integers(0, 70000)))
            case "hard" if first := [one.path for one in found.values() if one.type is EntryType.FILE and not one.hard_link]:
                given = found[first[0]]
                found[path] = file(path, mode=given.mode, uid=given.uid, hard_link=first[0], xattrs=given.xattrs)
            case _:
                held = (("user.odd", os.fsencode(name).hex()),) if xattrs and draw(st.booleans()) else ()
                found[path] = file(path, mode=mode, uid=draw(st.integers(0, 70000)), xattrs=held)
    return manifest(*found.values())


def request(jail: Manifest, **fields: Any) -> Request:
    """A request whose files have the content of bytes_of."""

    def contents(given: Entry) -> Iterator[bytes]:
        yield bytes_of(given.hard_link or given.path)

    return Request(jail, contents, fields.pop("epoch", 1_700_000_001), jail="/srv/jail", **fields)


def paths(jail: Manifest) -> list[JailPath]:
    """What is in it, in order."""
    return [one.path for one in jail.entries]


def made(name: str, jail: Manifest, **fields: Any) -> bytes:
    """A manifest in a format."""
    return b"".join(FORMATS[name].make(request(jail, **fields)))
