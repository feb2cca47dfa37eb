"""Two runs of one machine as one, and what differs between two."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nouns import BECAUSE, device, directory, entry, link, manifest

from tracejail.errors import TracejailError
from tracejail.manifest import diff, dump, load, merge_runs
from tracejail.model import Accounts, Command, Content, HostIdentity, JailPath, Mount, Origin, PathNote


def test_union_and_the_first_origin_stays() -> None:
    first = manifest(entry("/a", origin=Origin.ARGV), entry("/b"))
    second = manifest(entry("/a", origin=Origin.LISTING), entry("/c"), command=Command(("/bin/ls",)))
    merged = merge_runs(first, second)
    assert [one.path for one in merged.entries] == ["/a", "/b", "/c"]
    assert merged.entries[0].origin is Origin.ARGV
    assert merged.command == first.command and not merged.warnings


def test_with_itself_changes_nothing() -> None:
    one = manifest(directory("/a"), entry("/a/b"), mounts=(Mount("proc", JailPath("/proc")),), listens=("tcp:80",))
    assert merge_runs(one, one) == one


@pytest.mark.parametrize(
    "other", [directory("/a"), link("/a", "/b"), device("/a", 1, 3), entry("/a", sha256="b" * 64)],
)
def test_conflict_names_the_path(other: object) -> None:
    with pytest.raises(TracejailError, match="/a: ") as caught:
        merge_runs(manifest(entry("/a")), manifest(other))  # type: ignore[arg-type]
    assert caught.value.hint


def test_two_hosts_warn_and_unclean_stays_unclean() -> None:
    first = manifest(entry("/a"))
    second = replace(manifest(entry("/b")), clean=False, host=HostIdentity("/", "Debian 13", "6.12", "x86-64"))
    merged = merge_runs(first, second)
    assert not merged.clean and merged.host == first.host
    assert any("Debian 13" in warning for warning in merged.warnings)


def test_accounts_and_notes_are_joined() -> None:
    note = PathNote("/etc/none", "not on the host", BECAUSE)
    first = manifest(entry("/p", content=Content.ACCOUNTS), accounts=Accounts(False, ("root",), ()))
    second = manifest(
        entry("/p", content=Content.ACCOUNTS, sha256="c" * 64),
        accounts=Accounts(False, ("www-data",), ("adm",)), absent=(note,),
    )
    merged = merge_runs(first, second)
    assert merged.accounts == Accounts(False, ("root", "www-data"), ("adm",))
    assert merged.absent == (note,) and merged.entries[0].sha256 == ""


def test_hard_links_of_both_lead_to_the_first_name() -> None:
    first = manifest(entry("/v"), entry("/w", hard_link="/v"))
    second = manifest(entry("/w"), entry("/y", hard_link="/w"))
    merged = load(dump(merge_runs(first, second)), "M")
    assert {one.path: one.hard_link for one in merged.entries} == {"/v": "", "/w": "/v", "/y": "/v"}


def test_diff() -> None:
    first = manifest(entry("/gone"), entry("/same"), entry("/x", mode=0o644), link("/l", "a"))
    second = manifest(entry("/new"), entry("/same"), entry("/x", mode=0o4755, sha256="b" * 64), link("/l", "b"))
    rows = {row.path: (row.change, row.detail) for row in diff(first, second)}
    assert rows["/gone"] == ("removed", "file") and rows["/new"] == ("added", "file")
    assert rows["/x"] == ("changed", "mode 0644 -> 4755, other content")
    assert rows["/l"] == ("changed", "target a -> b")
    assert "/same" not in rows and diff(first, first) == []


def test_diff_of_mounts() -> None:
    with_proc = manifest(mounts=(Mount("proc", JailPath("/proc")),))
    assert [(row.path, row.change) for row in diff(manifest(), with_proc)] == [("/proc", "added")]
