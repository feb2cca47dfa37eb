"""What holds of merging and selecting, whatever the manifests are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from nouns import directory, entry, link, manifest

from tracejail.manifest import dump, load, merge, select
from tracejail.manifest.facts import facts, unmade
from tracejail.model import Accounts, Content, Entry, EntryType, HostIdentity, Manifest

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = st.sampled_from(("a", "b", "lib"))
TARGETS = st.sampled_from(("a", "b", "/a", "/b/lib", "..", "../b", "lib/a", "none"))
Draw = Callable[[st.SearchStrategy[object]], object]


@st.composite
def entries(draw: Draw) -> Entry:
    path = "/" + "/".join(draw(st.lists(NAMES, min_size=1, max_size=3)))  # type: ignore[arg-type]
    kind = draw(st.sampled_from(("dir", "link", "file", "made", "name")))
    via = draw(st.sampled_from(("", "/a", "/lib", "/a/b")))
    if kind == "link":
        return link(path, str(draw(TARGETS)), via=via)
    if kind == "dir":
        return directory(path, uid=draw(st.integers(0, 1)), via=via)
    if kind == "file":
        times, digests = st.integers(0, 2), st.sampled_from(("a" * 64, "b" * 64))
        return entry(path, mtime_ns=draw(times), sha256=draw(digests), via=via)
    content = Content.ACCOUNTS if kind == "made" else Content.EMPTY
    return entry(path, content=content, sha256=draw(st.sampled_from(("", "c" * 64))))


@st.composite
def hosts(draw: Draw) -> Manifest:
    tree: dict[str, Entry] = {}
    for one in draw(st.lists(entries(), max_size=8)):  # type: ignore[attr-defined]
        path, above = one.path, one.path.rpartition("/")[0]
        missing = []
        while above and above not in tree:
            missing.append(above)
            above = above.rpartition("/")[0]
        if path in tree or (above and tree[above].type is not EntryType.DIRECTORY):
            continue
        tree |= {each: directory(each) for each in missing}
        tree[path] = one
    for path in [path for path in tree if draw(st.integers(0, 3)) == 0]:
        same = [other for other, one in tree.items() if other < path and one.type is EntryType.FILE and not one.hard_link]
        is_first = any(one.hard_link == path for one in tree.values())
        if same and tree[path].type is EntryType.FILE and not is_first:
            tree[path] = replace(tree[same[0]], path=tree[path].path, hard_link=same[0])
    host = HostIdentity("/", str(draw(st.sampled_from(("Debian 12", "Fedora 40")))), "6.1", "x86-64")
    users = draw(st.sets(NAMES))
    return manifest(
        *tree.values(), host=host, clean=draw(st.booleans()), accounts=Accounts(users=tuple(sorted(users))),  # type: ignore[arg-type, type-var]
    )


def said(rows: tuple[Entry, ...]) -> set[object]:
    return {(row.path, facts(unmade(row))) for row in rows}


@settings(deadline=None)
@given(hosts(), hosts(), hosts())
def test_each_host_comes_out_as_it_went_in(first: Manifest, second: Manifest, third: Manifest) -> None:
    given = {"A": first, "B": second, "C": third}
    merged = merge(list(given.items()), apart=True)
    assert load(dump(merged), "M") == merged
    for label, one in given.items():
        selected = select(merged, label)
        assert said(tuple(row for row in selected.entries if not row.hosts)) == said(one.entries)
        assert (selected.host, selected.clean) == (one.host, one.clean)
        # What came from others is no tree that can't be.
        bare = replace(selected, entries=tuple(replace(row, hosts=()) for row in selected.entries))
        assert load(dump(bare), "M") == bare
        assert all(label not in row.hosts for row in selected.entries)


@settings(deadline=None)
@given(hosts(), hosts(), hosts())
def test_in_which_order_they_are_merged(first: Manifest, second: Manifest, third: Manifest) -> None:
    a, b, c = ("A", first), ("B", second), ("C", third)
    whole = merge([a, b, c], apart=True)
    assert merge([("", merge([a, b], apart=True)), c]) == whole
    assert merge([a, ("", merge([b, c], apart=True))]) == whole


@settings(deadline=None)
@given(hosts(), hosts())
def test_what_is_in_it_adds_nothing(first: Manifest, second: Manifest) -> None:
    a, b = ("A", first), ("B", second)
    merged = merge([a, b], apart=True)
    assert merge([("", merged), ("", merged)]) == merged
    assert merge([("", merged), a]) == merged == merge([("", merged), b])
    assert dump(merge([a, b], apart=True)) == dump(merged)


@settings(deadline=None)
@given(hosts())
def test_with_itself(one: Manifest) -> None:
    made_anew = replace(one, entries=tuple(unmade(row) for row in one.entries))
    assert merge([("A", one), ("B", one)]) == made_anew
