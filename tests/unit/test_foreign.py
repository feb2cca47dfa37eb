"""What only other hosts had, as this one has it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nouns import device, directory, entry, link, manifest
from roots import Make

from tracejail.foreign import settled
from tracejail.model import Content, Entry, Manifest

ETC = directory("/etc")
KEY = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 2 + "\n-----END PRIVATE KEY-----\n"


def theirs(one: Entry) -> Entry:
    return replace(one, hosts=("B",))


def of(one: Manifest) -> dict[str, Entry]:
    return {row.path: row for row in one.entries}


def test_its_own_facts_and_no_digest(make: Make, tmp_path: Path) -> None:
    host = make(**{"etc/a": "mine\n"})
    (tmp_path / "etc/a").chmod(0o640)
    found, notes = settled(host, manifest(ETC, theirs(entry("/etc/a", uid=5, mode=0o600, package="b", version="1"))))
    one = of(found)["/etc/a"]
    status = (tmp_path / "etc/a").stat()
    assert (one.mode, one.uid, one.size, one.sha256, one.package) == (0o640, status.st_uid, 5, "", "")
    assert one.mtime_ns == status.st_mtime_ns and not notes


def test_what_is_not_there(make: Make) -> None:
    names = [theirs(entry(f"/etc/{name}")) for name in "vwxyz"]
    found, notes = settled(make(), manifest(ETC, *names, theirs(directory("/etc/z.d"))))
    assert list(of(found)) == ["/etc"]
    assert notes == ("what only B had and this host has not is left out: /etc/v, /etc/w, /etc/x and 3 more",)


def test_links_are_followed_to_their_end(make: Make) -> None:
    host = make(**{"etc/a": "->b", "etc/b": "->/opt/x/c", "opt/x/c": "c", "etc/dangling": "->none"})
    found, _ = settled(host, manifest(ETC, theirs(entry("/etc/a")), theirs(entry("/etc/dangling"))))
    assert {path: row.target for path, row in of(found).items() if row.hosts} == {
        "/etc/a": "b", "/etc/b": "/opt/x/c", "/etc/dangling": "none", "/opt": "", "/opt/x": "", "/opt/x/c": "",
    }


def test_a_directory_that_is_a_link_here(make: Make, tmp_path: Path) -> None:
    host = make(**{"usr/lib/x": "x", "lib": "->usr/lib"})
    found, _ = settled(host, manifest(theirs(directory("/lib")), theirs(entry("/lib/x"))))
    assert {path: row.type.value for path, row in of(found).items()} == {
        "/lib": "link", "/usr": "dir", "/usr/lib": "dir", "/usr/lib/x": "file",
    }


@pytest.mark.parametrize(("path", "text"), [("/etc/site.pem", KEY), ("/etc/link", "->ssh/ssh_host_rsa_key")])
def test_a_secret_of_this_host_alone(make: Make, path: str, text: str) -> None:
    host = make(**{path[1:]: text, "etc/ssh/ssh_host_rsa_key": KEY})
    found, notes = settled(host, manifest(ETC, theirs(entry(path))))
    assert list(of(found)) == ["/etc"] and len(notes) == 1 and "which only B had, is left out" in notes[0]


def test_a_secret_that_was_let_in_by_name(make: Make) -> None:
    host = make(**{"etc/ssh/ssh_host_rsa_key": KEY})
    found, notes = settled(host, manifest(ETC, directory("/etc/ssh"), theirs(entry("/etc/ssh/ssh_host_rsa_key"))))
    assert "/etc/ssh/ssh_host_rsa_key" in of(found) and not notes


@pytest.mark.parametrize(("mode", "here", "then"), [(0o755, 0o4755, 0o755), (0o4755, 0o4755, 0o4755), (0o4755, 0o755, 0o755)])
def test_set_id_bits_as_they_were_let_in(make: Make, tmp_path: Path, mode: int, here: int, then: int) -> None:
    host = make(**{"etc/a": "a"})
    (tmp_path / "etc/a").chmod(here)
    found, _ = settled(host, manifest(ETC, theirs(entry("/etc/a", mode=mode))))
    assert of(found)["/etc/a"].mode == then


@pytest.mark.parametrize(
    ("fields", "content"),
    [({}, Content.ACCOUNTS), ({"content": Content.ACCOUNTS}, Content.ACCOUNTS), ({"content": Content.EMPTY}, Content.EMPTY)],
)
def test_accounts_and_mere_names(make: Make, fields: dict[str, Any], content: Content) -> None:
    found, _ = settled(make(), manifest(ETC, theirs(entry("/etc/passwd", **fields))))
    assert of(found)["/etc/passwd"].content is content


def test_other_types(make: Make) -> None:
    host = make(**{"etc/a": "a", "etc/d/x": "x"})
    given = manifest(ETC, theirs(device("/etc/a", 8, 0)), theirs(entry("/etc/d")), theirs(link("/etc/none", "x")))
    assert {path: row.type.value for path, row in of(settled(host, given).manifest).items()} == {
        "/etc": "dir", "/etc/a": "file", "/etc/d": "dir",
    }


def test_names_of_one_file(make: Make, tmp_path: Path) -> None:
    host = make(**{"etc/v": "v"})
    (tmp_path / "etc/w").hardlink_to(tmp_path / "etc/v")
    found, _ = settled(host, manifest(ETC, theirs(entry("/etc/v")), theirs(entry("/etc/w"))))
    assert of(found)["/etc/w"].hard_link == "/etc/v"


def test_what_is_its_own_stays_but_for_a_time_that_nobody_has(make: Make, tmp_path: Path) -> None:
    host = make(**{"etc/a": "a", "etc/b": "b"})
    known = hashlib.sha256(b"a").hexdigest()
    given = manifest(ETC, entry("/etc/a", sha256=known, uid=9), entry("/etc/b", mtime_ns=5), theirs(entry("/etc/a/x")))
    found = of(settled(host, given).manifest)
    assert found["/etc/a"].mtime_ns == (tmp_path / "etc/a").stat().st_mtime_ns and found["/etc/b"].mtime_ns == 5
    assert (found["/etc/a"].sha256, found["/etc/a"].uid) == (known, 9) and len(found) == 3
