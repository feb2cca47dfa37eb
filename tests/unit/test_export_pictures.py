"""dot, ncdu and folded: what comes back by another reader is what went in, whatever the names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import hostile
import pytest
from hostile import EXAMPLES, made
from hostile_graph import graphs, out_of_notation
from hypothesis import given
from nouns import directory, entry, link, manifest

from tracejail.errors import ExportError
from tracejail.export.graph import bringer, by_path, end_of, is_place
from tracejail.model import EntryType, Manifest, Origin

# --- dot ------------------------------------------------------------------------------------------------------------

_NODE = re.compile(r' (\w+) \[label="((?:[^"\\]|\\.)*)"[^"]*(?:fillcolor="#\w+")?\];')
_EDGE = re.compile(r' (\w+) -> (\w+)(?: \[(?:label="\w+"|style=\w+|, )+\])?;')


def _graph(text: bytes) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """The nodes with the lines of their labels, and the edges."""
    nodes, edges = {}, []
    lines = text.decode("utf-8").split("\n")
    assert all(line.isprintable() for line in lines) and lines[-2:] == ["}", ""]
    for line in lines[4:-2]:
        if edge := _EDGE.fullmatch(line):
            edges.append((edge[1], edge[2]))
            continue
        node = _NODE.fullmatch(line)
        assert node, line
        said = [""]
        for piece in re.findall(r"\\.|&\w+;|[^\\&]+", node[2]):
            if piece == "\\l":
                said.append("")
            else:
                said[-1] += {"\\\\": "\\", '\\"': '"', "&amp;": "&"}.get(piece, piece)
        nodes[node[1]] = said[:-1]
    assert {end for edge in edges for end in edge} <= nodes.keys()
    return nodes, edges


@EXAMPLES
@given(graphs())
def test_dot_comes_back(jail: Manifest) -> None:
    nodes, edges = _graph(made("dot", jail))
    entries = by_path(jail)
    found: dict[str, str] = {}
    for node, lines in nodes.items():
        if node == "run":
            assert os.fsdecode(out_of_notation(lines[0])) == " ".join(jail.command.argv)
            continue
        for line in lines:
            if line.startswith("/"):
                path = os.fsdecode(out_of_notation(line))
                assert path not in found
                found[path] = node
    known = [one for one in jail.entries if not is_place(one, entries)]
    assert sorted(found) == sorted(one.path for one in known)
    for one in known:
        if one.hard_link:
            assert found[one.path] == found[one.hard_link]
        above = bringer(one, entries)
        assert not above or found[above] == found[one.path] or (found[above], found[one.path]) in edges


@EXAMPLES
@given(graphs())
def test_dot_of_packages_comes_back(jail: Manifest) -> None:
    nodes, _ = _graph(made("dot", jail, packages=True))
    entries = by_path(jail)
    packages = {(one.package, one.version) for one in jail.entries if not is_place(one, entries)}
    said = [out_of_notation(lines[0]) for node, lines in nodes.items() if node != "run"]
    assert sorted(said) == sorted(os.fsencode(" ".join(filter(None, one)) or "no package") for one in packages)


def test_a_library_is_one_node() -> None:
    jail = manifest(
        link("/lib", "usr/lib"), directory("/usr"), directory("/usr/lib"), entry("/usr/lib/a.so.1.2"),
        link("/usr/lib/a.so.1", "a.so.1.2", via="/lib"), link("/usr/lib/a.so", "/lib/a.so.1"),
        entry("/usr/lib/b.so", via="/usr/lib/a.so"), entry("/prog", origin=Origin.ARGV, because=None, size=1500),
    )
    nodes, edges = _graph(made("dot", jail))
    assert [lines for node, lines in nodes.items() if node != "run"] == [
        ["/prog", "1.5 kB"], ["/usr/lib/a.so.1.2", "/usr/lib/a.so", "/usr/lib/a.so.1", "12 B"], ["/usr/lib/b.so", "12 B"],
    ]
    assert sorted(edges) == [("n1", "n2"), ("run", "n0")]


def test_links_that_lead_nowhere_or_round() -> None:
    jail = by_path(manifest(
        link("/a", "b"), link("/b", "a"), link("/up", "../../.././x"), entry("/x"), link("/gone", "nowhere"), link("/top", "/"),
    ))
    assert [end_of(path, jail) for path in ("/a", "/up", "/gone", "/top")] == ["/a", "/x", "/gone", "/top"]


# --- ncdu -----------------------------------------------------------------------------------------------------------


def _walk(given: Any, above: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in given:
        item = one[0] if isinstance(one, list) else one
        path = f"{above}/{item['name']}"
        yield path, item
        if isinstance(one, list):
            yield from _walk(one[1:], path)


@EXAMPLES
@given(graphs())
def test_ncdu_comes_back(jail: Manifest) -> None:
    text = made("ncdu", jail)
    assert not set(text) & {*range(10), *range(11, 32), 127} and b"\xc2\x9b" not in text
    # ncdu reads an escape as one character, never as half of a pair.
    assert not re.search(rb"(?<!\\)(?:\\\\)*\\ud[89a-f]", text)
    major, _, head, tree = json.loads(text.decode("utf-8", "surrogateescape"))
    assert major == 1 and head["progname"] == "tracejail" and tree[0]["name"] == "/srv/jail"
    items = dict(_walk(tree[1:], ""))
    assert sorted(items) == sorted(one.path for one in jail.entries)
    inodes: dict[str, int] = {}
    for one in jail.entries:
        item = items[one.path]
        assert (item["mode"] & 0o7777, item["uid"], item["gid"]) == (one.mode, one.uid, one.gid)
        assert item.get("notreg", False) is (one.type not in (EntryType.FILE, EntryType.DIRECTORY))
        if one.type is EntryType.FILE:
            assert item["asize"] == one.size and item["dsize"] == 4096 * bool(one.size)
        if one.hard_link or item.get("hlnkc"):
            assert inodes.setdefault(one.hard_link or one.path, item["ino"]) == item["ino"]
    assert len(set(inodes.values())) == len(inodes)


def test_an_owner_too_large_for_ncdu() -> None:
    with pytest.raises(ExportError, match="/a"):
        made("ncdu", manifest(entry("/a", uid=1 << 31)))


def test_ncdu_makes_the_directories_that_nobody_named() -> None:
    text = made("ncdu", manifest(entry("/a/b/c"), entry("/a/d")))
    assert [path for path, _ in _walk(json.loads(text)[3][1:], "")] == ["/a", "/a/b", "/a/b/c", "/a/d"]


# --- folded ---------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(graphs())
def test_folded_comes_back(jail: Manifest) -> None:
    files = {one.path: one for one in jail.entries if one.type is EntryType.FILE and not one.hard_link}
    for packages in (False, True):
        text = made("folded", jail, packages=packages).decode("utf-8")
        found = {}
        for line in text.split("\n")[:-1]:
            assert line.isprintable() and line.count(" ") == 1
            stack, size = line.split(" ")
            first, *frames = stack.split(";")
            assert first == "/"
            package = frames.pop(0) if packages else ""
            path = os.fsdecode(b"".join(b"/" + out_of_notation(frame) for frame in frames))
            found[path] = int(size)
            if packages:
                told = os.fsdecode(out_of_notation(package[1:-1])) if package.startswith("(") else ""
                assert told == files[path].package and (told or package == "no\\x20package")
        assert found == {path: one.size for path, one in files.items()}


def test_folded_is_lines_of_stacks() -> None:
    jail = manifest(hostile.file("/a;b"), hostile.file("/c d"), entry("/e", size=7))
    assert made("folded", jail) == b"/;a\\x3bb 8\n/;c\\x20d 8\n/;e 7\n"
