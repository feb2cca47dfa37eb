"""Several machines' manifests as one: facts of a host are kept apart, and each host's part comes out again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from nouns import BECAUSE, device, directory, entry, link, manifest

from tracejail.errors import ManifestError, TracejailError, UsageError
from tracejail.manifest import diff, dump, load, merge, merge_runs, select
from tracejail.model import (
    Accounts,
    Because,
    Command,
    Content,
    Entry,
    EntryType,
    HostIdentity,
    JailPath,
    Manifest,
    Origin,
    PathNote,
    Use,
    Written,
)
from tracejail.why import why

DEBIAN = HostIdentity("/", "Debian 12", "6.1", "x86-64")
FEDORA = HostIdentity("/", "Fedora 40", "6.8", "x86-64")


def web(*entries: Entry, **fields: Any) -> Manifest:
    return manifest(*entries, **{"host": DEBIAN, "jail": "/srv/web.jail", **fields})


def mail(*entries: Entry, **fields: Any) -> Manifest:
    return manifest(*entries, **{"host": FEDORA, "jail": "/srv/mail.jail", **fields})


def both(first: Manifest, second: Manifest, apart: bool = False) -> Manifest:
    return merge([("web", first), ("mail", second)], apart)


def rows(one: Manifest) -> list[tuple[str, tuple[str, ...]]]:
    return [(row.path, row.hosts) for row in one.entries]


# --- merging --------------------------------------------------------------------------------------------------------


def test_a_library_of_two_versions() -> None:
    first = web(directory("/lib"), link("/lib/libz.so.1", "libz.so.1.2"), entry("/lib/libz.so.1.2", package="z", version="1.2"))
    second = mail(directory("/lib"), link("/lib/libz.so.1", "libz.so.1.3"), entry("/lib/libz.so.1.3", sha256="b" * 64))
    merged = both(first, second)
    assert rows(merged) == [
        ("/lib", ()), ("/lib/libz.so.1", ("web",)), ("/lib/libz.so.1", ("mail",)), ("/lib/libz.so.1.2", ("web",)),
        ("/lib/libz.so.1.3", ("mail",)),
    ]
    assert [(row.label, row.host, row.jail) for row in merged.merged] == [
        ("web", DEBIAN, "/srv/web.jail"), ("mail", FEDORA, "/srv/mail.jail"),
    ]
    assert (merged.host, merged.jail, merged.command) == (first.host, first.jail, first.command)
    assert merged.warnings == ("merged from 2 hosts: web (Debian 12), mail (Fedora 40)",)
    assert load(dump(merged), "M") == merged


@pytest.mark.parametrize(
    "fields",
    [{"mode": 0o600}, {"uid": 7}, {"gid": 7}, {"sha256": "b" * 64}, {"size": 13}, {"package": "p"}, {"version": "2"},
     {"xattrs": (("user.x", "00"),)}, {"content": Content.EMPTY}, {"hard_link": "/a"}],
)
def test_facts_of_a_host(fields: dict[str, Any]) -> None:
    merged = both(web(entry("/a"), entry("/b")), mail(entry("/a"), entry("/b", **fields)))
    assert rows(merged) == [("/a", ()), ("/b", ("web",)), ("/b", ("mail",))]


@pytest.mark.parametrize(
    "fields",
    [{"mtime_ns": 5}, {"because": Because("/x", "open", "y")}, {"phase": "reload"}, {"origin": Origin.ARGV}, {"via": "/c"}],
)
def test_what_is_of_the_run(fields: dict[str, Any]) -> None:
    merged = both(web(entry("/a", mtime_ns=4)), mail(entry("/a", **{"mtime_ns": 4, **fields})))
    # A time that differs is nobody's; the first reason stays.
    assert merged.entries == (entry("/a", mtime_ns=0 if "mtime_ns" in fields else 4),)


@pytest.mark.parametrize("other", [directory("/a"), link("/a", "b"), device("/a", 1, 3)])
def test_other_types(other: Entry) -> None:
    merged = both(web(entry("/a")), mail(other))
    assert [(row.type, row.hosts) for row in merged.entries] == [(EntryType.FILE, ("web",)), (other.type, ("mail",))]
    assert load(dump(merged), "M") == merged


def test_groups_of_three() -> None:
    given = [("a", web(entry("/x", uid=1))), ("b", web(entry("/x", uid=2))), ("c", web(entry("/x", uid=1)))]
    assert rows(merge(given)) == [("/x", ("a", "c")), ("/x", ("b",))]


def test_what_is_made_is_made_anew() -> None:
    merged = both(web(entry("/p", content=Content.ACCOUNTS)), mail(entry("/p", content=Content.ACCOUNTS, sha256="b" * 64)))
    assert merged.entries == (entry("/p", content=Content.ACCOUNTS, sha256="", size=0),)


def test_notes_and_written_places() -> None:
    place = Written(JailPath("/run"), EntryType.DIRECTORY, 0o755, 33, 33, Use.RUN)
    note = PathNote("/etc/x", "not on the host either", BECAUSE)
    first = web(entry("/a"), written=(place,), absent=(note,), accounts=Accounts(users=("www-data",)))
    second = mail(entry("/a"), directory("/etc"), entry("/etc/x"), written=(replace(place, uid=48),),
                  accounts=Accounts(users=("apache",)))
    merged = both(first, second)
    assert [(row.uid, row.hosts) for row in merged.written] == [(33, ("web",)), (48, ("mail",))]
    assert merged.absent == (replace(note, hosts=("web",)),)
    assert merged.accounts.users == ("apache", "www-data")
    assert load(dump(merged), "M") == merged
    assert select(merged, "web").absent == (note,) and select(merged, "mail").absent == ()
    assert [row.uid for row in select(merged, "mail").written] == [48]


def test_clean_only_where_all_are() -> None:
    merged = both(web(entry("/a")), mail(entry("/a"), clean=False))
    assert not merged.clean and select(merged, "web").clean and not select(merged, "mail").clean


# --- one machine, or several --------------------------------------------------------------------------------------


def test_nothing_differs() -> None:
    first, second = web(entry("/a"), entry("/b")), web(entry("/a", mtime_ns=3), entry("/c"), command=Command(("/bin/x",)))
    merged = both(first, second)
    assert merged == merge_runs(first, second) and not merged.merged
    assert '"merged"' not in dump(merged) and '"hosts"' not in dump(merged)
    assert rows(both(first, second, apart=True)) == [("/a", ()), ("/b", ("web",)), ("/c", ("mail",))]


def test_another_kernel_is_another_machine() -> None:
    assert both(web(entry("/a")), web(entry("/a"), host=replace(DEBIAN, kernel="6.2"))).merged


def test_absent_on_one_and_there_on_the_other() -> None:
    note = PathNote("/b", "not on the host either", BECAUSE)
    assert both(web(entry("/a"), absent=(note,)), web(entry("/a"), entry("/b"))).merged
    # It came while it ran: the same in both.
    assert not both(web(entry("/b"), absent=(note,)), web(entry("/b"))).merged


def test_another_first_name_of_an_inode_is_no_difference() -> None:
    merged = both(web(entry("/w")), web(entry("/v"), entry("/w", hard_link="/v")))
    assert not merged.merged


def test_a_mere_name_gives_way_to_the_file() -> None:
    name = entry("/a", content=Content.EMPTY, sha256="", size=0)
    assert both(web(name), web(entry("/a"))).entries == (entry("/a"),)
    assert both(web(entry("/a")), web(name)).entries == (entry("/a"),)


def test_runs_of_one_machine_may_not_be_of_several() -> None:
    with pytest.raises(ManifestError):
        merge_runs(both(web(entry("/a")), mail(entry("/a"))), web(entry("/a")))


# --- labels -------------------------------------------------------------------------------------------------------


def test_a_merged_one_brings_its_labels() -> None:
    merged = both(web(entry("/a")), mail(entry("/a", uid=1)))
    three = merge([("ignored", merged), ("db", web(entry("/a", uid=2)))])
    assert rows(three) == [("/a", ("web",)), ("/a", ("mail",)), ("/a", ("db",))]
    assert three.warnings == ("merged from 3 hosts: web (Debian 12), mail (Fedora 40), db (Debian 12)",)


def test_one_label_for_two() -> None:
    merged = both(web(entry("/a")), mail(entry("/a", uid=1)))
    assert merge([("", merged), ("web", web(entry("/a")))]) == merged
    with pytest.raises(UsageError, match="^web: ") as caught:
        merge([("", merged), ("web", web(entry("/a", uid=3)))])
    assert caught.value.hint


# --- what no manifest may say ---------------------------------------------------------------------------------------


def _raw() -> dict[str, Any]:
    merged = both(web(directory("/d"), entry("/d/a")), mail(directory("/d", uid=1), entry("/d/a"), entry("/d/b")))
    raw: dict[str, Any] = json.loads(dump(merged))
    load(json.dumps(raw), "M")
    return raw


@pytest.mark.parametrize(
    ("index", "fields", "words"),
    [
        (0, {"hosts": ["web", "web"]}, "hosts"), (0, {"hosts": ["nobody"]}, "hosts"), (0, {"hosts": "web"}, "list"),
        (0, {"hosts": ["web", "mail"]}, "twice"), (0, {"hosts": []}, "twice"), (3, {"path": "/d/a"}, "twice"),
        (0, {"type": "link", "target": "x"}, "beneath"), (0, {"path": "/e"}, "above"), (3, {"hard_link": "/d/x"}, "hard link"),
    ],
)
def test_hostile_hosts_of_an_entry(index: int, fields: dict[str, Any], words: str) -> None:
    raw = _raw()
    raw["entries"][index].update(fields)
    with pytest.raises(ManifestError, match=f"^M: .*{words}"):
        load(json.dumps(raw), "M")


@pytest.mark.parametrize(
    "fields", [{"label": ""}, {"label": "mail"}, {"label": 7}, {"jail": "/other"}, {"host": None}, {"surprise": 1}],
)
def test_hostile_merged(fields: dict[str, Any]) -> None:
    raw = _raw()
    raw["merged"][0].update(fields)
    with pytest.raises(ManifestError, match="^M: "):
        load(json.dumps(raw), "M")


@pytest.mark.parametrize("command", [{"argv": []}, {"argv": ["/x"], "service": {"directories": [{"path": "/../x"}]}}])
def test_hostile_command_of_a_merged_host(command: dict[str, Any]) -> None:
    raw = _raw()
    raw["merged"][1]["command"] = command
    with pytest.raises(ManifestError, match="^M: "):
        load(json.dumps(raw), "M")


def test_hosts_of_a_manifest_that_was_not_merged() -> None:
    with pytest.raises(ManifestError, match="hosts"):
        load(dump(web(entry("/a", hosts=("web",)))), "M")
    with pytest.raises(ManifestError, match="hosts"):
        load(dump(web(absent=(PathNote("/a", "", BECAUSE, ("web",)),))), "M")


# --- selecting ------------------------------------------------------------------------------------------------------


def test_the_part_of_a_host() -> None:
    first, second = web(directory("/d"), entry("/d/a"), entry("/d/w")), mail(directory("/d"), entry("/d/a", uid=1))
    merged = both(first, second)
    assert select(merged) == select(merged, "web")
    assert select(merged, "web").entries == first.entries
    selected = select(merged, "mail")
    assert selected.entries == (*second.entries, entry("/d/w", hosts=("web",)))
    assert (selected.host, selected.jail, selected.merged) == (FEDORA, "/srv/mail.jail", ())


def test_a_label_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="db") as caught:
        select(both(web(entry("/a")), mail(entry("/b"))), "db")
    assert caught.value.hint == "it was merged from web, mail"
    with pytest.raises(UsageError, match="of one host"):
        select(web(entry("/a")), "web")
    assert select(web(entry("/a"))) == web(entry("/a"))


def test_into_a_merged_usr() -> None:
    usr = (directory("/usr"), directory("/usr/lib"), link("/lib", "usr/lib"))
    apart = (directory("/lib"), directory("/lib/x"), link("/lib/x/foo", "foo.1"), entry("/lib/x/foo.1"))
    merged = both(web(*usr), mail(*apart))
    foreign = [row for row in select(merged, "web").entries if row.hosts]
    assert [(row.path, row.type.value) for row in foreign] == [
        ("/usr/lib/x", "dir"), ("/usr/lib/x/foo", "link"), ("/usr/lib/x/foo.1", "file"),
    ]
    # The other way round the paths are free: whether they lead anywhere there, the host knows.
    assert [row.path for row in select(merged, "mail").entries if row.hosts] == ["/usr", "/usr/lib"]


def test_out_of_a_merged_usr() -> None:
    usr = (directory("/usr"), directory("/usr/lib", via="/lib"), link("/lib", "usr/lib"), directory("/usr/lib/x", via="/lib"),
           entry("/usr/lib/x/bar", via="/lib"), entry("/usr/lib/own"))
    merged = both(web(directory("/lib"), entry("/lib/foo")), mail(*usr))
    assert [row.path for row in select(merged, "web").entries if row.hosts] == [
        "/lib/x", "/lib/x/bar", "/usr", "/usr/lib", "/usr/lib/own",
    ]


def test_parents_that_only_a_link_names() -> None:
    merged = both(web(link("/lib", "/opt/a/../b")), mail(directory("/lib"), entry("/lib/foo")))
    selected = select(merged, "web")
    assert [(row.path, row.hosts) for row in selected.entries] == [
        ("/lib", ()), ("/opt", ("mail",)), ("/opt/b", ("mail",)), ("/opt/b/foo", ("mail",)),
    ]


@pytest.mark.parametrize("above", [entry("/d"), device("/d", 1, 3), link("/d", "d"), link("/d", "..")])
def test_what_can_not_be_beneath(above: Entry) -> None:
    merged = both(web(above), mail(directory("/d"), entry("/d/a")))
    found = [row.path for row in select(merged, "web").entries]
    assert found == (["/a", "/d"] if above.target == ".." else ["/d"])


def _library(version: str, *more: Entry) -> tuple[Entry, ...]:
    """A link to a library, by a link that is alike on all hosts."""
    return (
        link("/foo", "foo.1"), link("/foo.1", f"foo.{version}", via="/foo"), entry(f"/foo.{version}", via="/foo.1"), *more
    )


def test_a_link_of_its_own_is_an_answer() -> None:
    merged = both(web(*_library("1.2")), mail(*_library("1.3", entry("/more"))))
    assert [row.path for row in select(merged, "web").entries if row.hosts] == ["/more"]
    # A link that was only looked at leads to where another run has read.
    seen = (link("/foo", "foo.1"), link("/foo.1", "foo.1.3", version="2"))
    assert [row.path for row in select(both(web(*seen), mail(*_library("1.3"))), "web").entries if row.hosts] == ["/foo.1.3"]
    # Nor is it one to a chain of which this host has nothing.
    assert [row.path for row in select(both(web(), mail(*_library("1.3"))), "web").entries] == ["/foo", "/foo.1", "/foo.1.3"]


def test_a_chain_of_links_to_another_file() -> None:
    theirs = (link("/foo", "foo.1"), link("/foo.1", "foo.1.3", via="/foo"), entry("/foo.1.3", via="/foo.1"))
    merged = both(web(link("/foo", "bar"), entry("/bar", via="/foo")), mail(*theirs))
    assert [row.path for row in select(merged, "web").entries] == ["/bar", "/foo"]
    ring = (link("/foo", "foo.1", via="/foo.1"), link("/foo.1", "foo", via="/foo"))
    assert len(select(both(web(entry("/a")), mail(*ring)), "web").entries) == 3


def test_foreign_names_are_not_one_file_here() -> None:
    merged = both(web(entry("/a")), mail(entry("/a"), entry("/v"), entry("/w", hard_link="/v")))
    assert [row.hard_link for row in select(merged, "web").entries] == ["", "", ""]


def test_two_others_of_other_types() -> None:
    given = [("a", web(entry("/z"))), ("b", web(link("/x", "y"), directory("/y"), entry("/y/q"))),
             ("c", web(directory("/x"), entry("/x/p")))]
    assert [row.path for row in select(merge(given, apart=True), "a").entries] == ["/x", "/y", "/y/p", "/y/q", "/z"]


# --- comparing, asking why ------------------------------------------------------------------------------------------


def test_diff_of_a_part_with_its_own() -> None:
    first, second = web(entry("/a"), entry("/w")), mail(entry("/a", uid=1))
    merged = both(first, second)
    assert diff(select(merged, "web"), first) == []
    found = diff(second, select(merged, "mail"))
    assert [(row.path, row.change, row.detail) for row in found] == [("/w", "added", "file, of web alone")]
    found = diff(select(merged, "mail"), mail(entry("/a", uid=1), entry("/w")))
    assert [(row.path, row.change, row.detail) for row in found] == [("/w", "changed", "was of web alone, now of this host")]


def test_diff_host_by_host() -> None:
    old = both(web(entry("/a"), entry("/b")), mail(entry("/a"), entry("/b")))
    new = merge([("web", web(entry("/a", uid=1), entry("/b", uid=2))), ("mail", mail(entry("/a"), entry("/b", uid=2))),
                 ("db", web(entry("/a")))])
    found = [(row.path, row.change, row.detail) for row in diff(old, new)]
    assert found == [
        ("db", "added", "host, Debian 12"), ("/a", "changed", "uid 0 -> 1, on web"), ("/b", "changed", "uid 0 -> 2"),
    ]
    assert diff(old, old) == []


def test_why_says_whose_it_is() -> None:
    lines = why(select(both(web(entry("/a")), mail(entry("/b")))), "/b")
    assert lines[-1] == "/b: only mail had it; in the jail where this host has it too"


def test_errors_have_a_hint() -> None:
    with pytest.raises(TracejailError) as caught:
        merge_runs(web(entry("/a")), web(entry("/a", sha256="b" * 64)))
    assert "learn the older one again" in caught.value.hint
