"""The options of setpriv(1) for Landlock: a rule for each file, and for directories that were looked into."""

from __future__ import annotations

import os

import hostile
from hostile import EXAMPLES, made
from hypothesis import given
from nouns import directory, entry, manifest

from tracejail.model import Because, EntryType, JailPath, Manifest, MissKind, Origin, Use, Written


def rules(text: bytes) -> tuple[dict[str, set[str]], list[str]]:
    words = [os.fsdecode(word) for word in text.split(b"\0")[:-1]]
    at = words.index("--")
    assert words[:3] == ["--no-new-privs", "--landlock-access", "fs"]
    given = words[3:at]
    assert set(given[::2]) <= {"--landlock-rule"}
    parts = [rule.split(":", 2) for rule in given[1::2]]
    assert all(kind == "path-beneath" for kind, _, _ in parts)
    return {path: set(access.split(",")) for _, access, path in parts}, words[at + 1 :]


@EXAMPLES
@given(hostile.manifests(xattrs=True))
def test_landlock_comes_back(jail: Manifest) -> None:
    found, command = rules(made("landlock", jail))
    assert found.keys() == {one.path for one in jail.entries if one.type in (EntryType.FILE, EntryType.CHARACTER)}
    assert command == list(jail.command.argv)


def test_what_was_done_with_it() -> None:
    jail = manifest(
        directory("/a"), directory("/b", origin=Origin.MISS), directory("/c"), directory("/l"), entry("/a/d", origin=Origin.ARGV),
        entry("/a/e", because=Because("/a/d", "execve", "e")), entry("/a/ld", origin=Origin.ELF_INTERPRETER), entry("/b/f"),
        entry("/b/seen", mode=0o755, because=Because("/a/d", "newfstatat", "seen")),
        entry("/b/read", mode=0o755, because=Because("/a/d", "openat", "read")),
        entry("/l/f", kind=MissKind.LISTING),
        written=(Written(JailPath("/c"), EntryType.DIRECTORY, 0o755, 0, 0, Use.STATE),),
    )
    found, _ = rules(made("landlock", jail))
    assert found["/b/seen"] == {"read-file", "execute"}
    assert found["/b/read"] == {"read-file"}
    assert found["/a/d"] == found["/a/e"] == found["/a/ld"] == {"read-file", "execute"}
    assert found["/l"] == {"read-dir"}
    assert (found["/b"], found["/b/f"]) == ({"read-dir"}, {"read-file"}) and "/a" not in found
    assert {"make-reg", "write-file", "remove-file"} <= found["/c"] and "execute" not in found["/c"]
