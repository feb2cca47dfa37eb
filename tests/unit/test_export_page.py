"""The page: its data comes back whatever the names, nothing of it becomes markup, and it stays small."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from typing import Any

from hostile import EXAMPLES, made
from hostile_graph import graphs
from hypothesis import given
from nouns import directory, entry, manifest

from tracejail.model import Because, EntryType, Manifest, Origin, PathNote


class _Reader(HTMLParser):
    """The elements in order, with their attributes; and what is in the script, style and title ones."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag in ("script", "style", "title"):
            self.inside.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style", "title"):
            tag, before = self.inside[-1]
            self.inside[-1] = tag, before + data


def _read(jail: Manifest) -> _Reader:
    data = made("html", jail)
    assert data == made("html", jail)
    reader = _Reader()
    reader.feed(data.decode("utf-8"))
    reader.close()
    return reader


_TAGS = [tag for tag, _ in _read(manifest(entry("/a"))).elements]


def _data(reader: _Reader) -> dict[str, Any]:
    inside = [text for tag, text in reader.inside if tag == "script"]
    types = [attributes.get("type") for tag, attributes in reader.elements if tag == "script"]
    assert types == ["application/json", None]
    text = inside[0]
    assert not set(text) & set("<>&\u2028\u2029\x7f\x1b") and text.isascii()
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


@EXAMPLES
@given(graphs())
def test_the_page_comes_back(jail: Manifest) -> None:
    reader = _read(jail)
    assert [tag for tag, _ in reader.elements] == _TAGS
    assert reader.inside[0][1].isprintable()
    data = _data(reader)
    assert data["command"] == list(jail.command.argv) and data["warnings"] == list(jail.warnings)
    assert len(data["entries"]) == len(jail.entries)
    for one, row in zip(jail.entries, data["entries"], strict=True):
        path, kind, _, _, _, _, package, phase, by, _, _ = row
        assert (path, kind) == (one.path, one.type.value) and data["phases"][phase] == one.phase
        assert data["packages"][package] == [one.package, one.version]
        above = data["entries"][by][0] if by >= 0 else ""
        assert above != path
        if one.via != path and any(other.path == one.via and other.type is EntryType.FILE for other in jail.entries):
            assert above == one.via
    for name in ("denied", "absent", "sockets"):
        assert [row[:2] for row in data[name]] == [[note.path, note.reason] for note in getattr(jail, name)]
    assert [row[0] for row in data["written"]] == [place.path for place in jail.written]


def test_the_policy_allows_the_page_and_nothing_else() -> None:
    reader = _read(manifest(entry("/a")))
    (policy,) = (one["content"] for _, one in reader.elements if one.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none';") and "unsafe" not in policy and "*" not in policy
    for tag, text in (one for one in reader.inside if one[0] != "title" and not one[1].startswith("{")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    for _, attributes in reader.elements:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes)
        assert attributes.get("href", "#") == "#paths" or attributes.get("href") is None


def test_the_marks_of_the_page_as_a_name() -> None:
    for mark in ("@DATA@", "@SCRIPT@", "@TITLE@", "</script><!--<script>"):
        jail = manifest(entry(f"/{mark.replace('/', '')}", phase=mark), warnings=(mark,))
        assert _data(_read(jail))["warnings"] == [mark]


def large(count: int) -> Manifest:
    """A jail of so many entries with paths of a common length, and of all else that a page shows."""
    places = [f"/usr/lib/python3/dist-packages/package_{number}" for number in range(count // 20)]
    because = Because("/usr/sbin/some-daemon", "openat", "some/place/below/the/working/directory.conf")
    note = PathNote("/etc/ssl/private/server.key", "a private key", because)
    files = [
        entry(f"{places[number % len(places)]}/module_of_some_length_{number}.cpython-311.pyc", size=number * 999 % 400_000,
              package=f"python3-some-package-{number % 40}", version="1.2.3-4+deb12u1", because=because, origin=Origin.LISTING)
        for number in range(count - len(places))
    ]
    return manifest(*map(directory, places), *files, denied=(note,) * 20, absent=(note,) * 300)


def test_two_thousand_entries_are_less_than_two_megabytes() -> None:
    assert len(made("html", large(2000))) < 2 << 20
