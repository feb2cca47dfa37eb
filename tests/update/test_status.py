"""What `status` tells apart: the host's patches, the jail's tampering, what is gone on either side, what is needed anew."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tool import COMMAND, run_words, two_lines

from .conftest import Ground
from .tree import ENVIRONMENT, LIB, digest, tracejail


def drift(ground: Ground, *words: str) -> dict[str, dict[str, Any]]:
    """The rows of status by path."""
    done = tracejail("status", "--json", *words, ground.manifest)
    jail = done.json["jails"][0]
    assert done.status == (1 if jail["drift"] else 0), done.err
    return {row["path"]: row for row in jail["drift"]}


def kinds(ground: Ground, *words: str) -> dict[str, str]:
    return {path: row["kind"] for path, row in drift(ground, *words).items()}


def test_current(ground: Ground) -> None:
    before = digest(ground.jail), ground.manifest.read_bytes()
    for words in ((), (), ("--full",), ()):
        done = tracejail("status", *words, ground.manifest)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith(f"{ground.jail}: current, ")
    assert (digest(ground.jail), ground.manifest.read_bytes()) == before
    seen = ground.top / ".hello.jail.json.seen"
    assert seen.stat().st_mode & 0o777 == 0o600
    seen.write_text("no such thing")
    assert kinds(ground) == {}


def test_a_patch_has_its_package_and_versions(ground: Ground) -> None:
    ground.host.greet('"patched"')
    ground.host.upgrade("libgreet1", "1.0-2")
    rows = drift(ground)
    assert {path: row["kind"] for path, row in rows.items()} == {
        f"/{LIB}/libgreet.so.1.0": "patched", f"/{LIB}/libgreet.so.1": "version",
    }
    assert [rows[f"/{LIB}/libgreet.so.1.0"][key] for key in ("package", "version", "now")] == ["libgreet1", "1.0-1", "1.0-2"]
    done = tracejail("status", "--json", ground.manifest)
    assert done.json["jails"][0]["packages"] == [{"package": "libgreet1", "version": "1.0-1", "now": "1.0-2", "files": 2}]
    assert "libgreet1 1.0-1 -> 1.0-2" in tracejail("status", ground.manifest).out


def test_a_patch_of_the_same_size_and_time(ground: Ground) -> None:
    library = ground.host.top / LIB / "libgreet.so.1.0"
    before = library.stat()
    library.write_bytes(library.read_bytes().replace(b"hello", b"HELLO"))
    os.utime(library, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kinds(ground) == {}   # nothing tells it
    ground.host.upgrade("libgreet1", "1.0-2")
    assert kinds(ground)[f"/{LIB}/libgreet.so.1.0"] == "patched"   # but the version of its package


def test_touched_and_not_changed(ground: Ground) -> None:
    os.utime(ground.host.top / "etc/hello.conf")
    os.utime(ground.jail / "etc/hello.conf")
    assert kinds(ground) == {}


def test_tampering_is_the_jails_own(ground: Ground) -> None:
    (ground.jail / "etc/hello.conf").write_text("intruder\n")
    (ground.jail / "usr/bin/hello").chmod(0o4755)
    (ground.jail / LIB / "libgreet.so.1").unlink()
    (ground.jail / LIB / "libgreet.so.1").symlink_to("/tmp/evil.so")
    (ground.jail / "etc/ld.so.cache").unlink()
    rows = drift(ground)
    assert {path: (row["kind"], row["detail"]) for path, row in rows.items()} == {
        "/etc/hello.conf": ("changed in jail", "other content"),
        "/usr/bin/hello": ("changed in jail", "mode 0755 -> 4755"),
        f"/{LIB}/libgreet.so.1": ("changed in jail", "leads to /tmp/evil.so, led to libgreet.so.1.0"),
        "/etc/ld.so.cache": ("gone from jail", ""),
    }


def test_tampering_that_sets_size_and_time_back(ground: Ground) -> None:
    conf = ground.jail / "etc/hello.conf"
    before = conf.stat()
    time.sleep(2.1)   # what is younger is not remembered
    assert kinds(ground) == {}
    conf.write_text("WORLD\n")
    os.utime(conf, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kinds(ground) == {"/etc/hello.conf": "changed in jail"}
    assert kinds(ground) == {"/etc/hello.conf": "changed in jail"}
    (ground.top / ".hello.jail.json.seen").unlink()
    assert kinds(ground) == {}   # a first look goes by size and time,
    assert kinds(ground, "--full") == {"/etc/hello.conf": "changed in jail"}   # a full one by bytes


def test_a_directory_that_became_a_link(ground: Ground, tmp_path: Path) -> None:
    (ground.jail / "etc").rename(tmp_path / "etc")
    (ground.jail / "etc").symlink_to(tmp_path / "etc")
    found = kinds(ground, "--full")
    assert found["/etc"] == "other shape"
    assert found["/etc/hello.conf"] == "gone from jail"   # what is outside is none of the jail's


def test_gone_from_the_host(ground: Ground) -> None:
    (ground.host.top / "etc/hello.conf").unlink()
    assert kinds(ground) == {"/etc/hello.conf": "gone from host"}


def test_attributes(ground: Ground) -> None:
    conf = ground.host.top / "etc/hello.conf"
    conf.chmod(0o600)
    os.chown(conf, 1, 1)
    assert {row["detail"] for row in drift(ground).values()} == {"mode 0644 -> 0600, owner 0:0 -> 1:1"}
    conf.chmod(0o4644)   # a set-ID bit is let in or it is not: that the host has it is no news
    os.chown(conf, 0, 0)
    conf.chmod(0o4644)
    assert kinds(ground) == {}


def test_new_needs(ground: Ground) -> None:
    ground.host.library("libextra.so.2", "0", 'const char *extra(void) { return "more"; }')
    ground.host.greet("extra()", "0", f"{ground.host.top}/{LIB}/libextra.so.2.0", before="const char *extra(void);")
    ground.host.settle()
    rows = drift(ground)
    assert rows[f"/{LIB}/libextra.so.2.0"]["kind"] == "new need"
    assert rows[f"/{LIB}/libextra.so.2.0"]["detail"] == f"a library of /{LIB}/libgreet.so.1.0"
    assert rows[f"/{LIB}/libextra.so.2"]["kind"] == "new need"
    (ground.host.top / LIB / "libextra.so.2").unlink()
    assert drift(ground)["libextra.so.2"]["detail"].endswith("and not on the host")


def test_another_interpreter(ground: Ground) -> None:
    ground.host.compile(
        'int main(void) { return 0; }', "usr/bin/hello", "-Wl,--dynamic-linker=/opt/ld.so",
    )
    opt = ground.host.top / "opt"
    opt.mkdir()
    (opt / "ld.so").write_bytes((ground.host.top / LIB / "ld-linux-x86-64.so.2").read_bytes())
    rows = drift(ground)
    assert (rows["/opt/ld.so"]["kind"], rows["/opt/ld.so"]["detail"]) == ("new need", "the loader of /usr/bin/hello")


def test_what_is_made_is_compared_as_it_would_be_made(ground: Ground) -> None:
    ground.host.library("libother.so.1", "0", "int other(void) { return 1; }")
    ground.host.settle()   # another cache of the host, and the same one for the jail
    assert kinds(ground) == {}


def test_an_account_that_the_jail_has(tmp_path: Path, ground: Ground) -> None:
    text = ground.manifest.read_text()
    words = ("--from", ground.host.top, "-j", ground.jail, "--include", "/etc/passwd")
    done = tracejail("learn", "--append", *words, "/usr/bin/hello")
    assert done.status == 0, done.err
    assert "passwd" not in text
    passwd = ground.host.top / "etc/passwd"
    passwd.write_text(passwd.read_text() + "more:x:5:5::/:/bin/sh\n")
    assert kinds(ground) == {}   # reduced to the same
    passwd.write_text(passwd.read_text().replace("/root:", "/rot:"))
    assert drift(ground)["/etc/passwd"]["detail"] == "would be made otherwise now"


def test_what_lies_beside_is_named_and_no_drift(ground: Ground) -> None:
    (ground.jail / "srv").mkdir()
    (ground.jail / "etc/more").write_text("mine")
    for _ in range(2):
        done = tracejail("status", "--json", ground.manifest)
        assert done.status == 0
        assert done.json["jails"][0]["beside"] == ["/etc/more", "/srv"]


def test_places_that_are_written_to(ground: Ground) -> None:
    manifest = json.loads(ground.manifest.read_text())
    manifest["written"] = [
        {"path": "/etc", "type": "dir", "mode": "0755", "uid": 0, "gid": 0, "use": "other"},
        {"path": "/etc/hello.conf", "type": "file", "mode": "0644", "uid": 0, "gid": 0, "use": "other"},
    ]
    ground.manifest.write_text(json.dumps(manifest))
    (ground.jail / "etc/hello.conf").write_text("its own\n")
    (ground.host.top / "etc/hello.conf").write_text("the host's own\n")
    (ground.jail / "etc/new").write_text("")
    assert kinds(ground) == {}
    (ground.jail / "etc/hello.conf").unlink()
    assert kinds(ground) == {}
    (ground.jail / "etc/ld.so.cache").write_text("not what it writes")
    assert kinds(ground) == {"/etc/ld.so.cache": "changed in jail"}


def test_another_root_and_another_jail(ground: Ground, tmp_path: Path) -> None:
    import subprocess

    subprocess.run(["cp", "-a", str(ground.host.top), str(ground.jail), str(tmp_path)], check=True)
    (tmp_path / "host/etc/hello.conf").write_text("of another\n")
    assert kinds(ground) == {}
    assert kinds(ground, "--from", str(tmp_path / "host")) == {"/etc/hello.conf": "patched"}
    (tmp_path / "hello.jail/etc/hello.conf").unlink()
    assert kinds(ground, "-j", str(tmp_path / "hello.jail")) == {"/etc/hello.conf": "gone from jail"}
    assert kinds(ground) == {}


def test_a_secret_is_not_let_in(ground: Ground) -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 2 + "\n-----END PRIVATE KEY-----\n"
    (ground.host.top / "etc/hello.conf").write_text(key)
    rows = drift(ground)
    assert rows["/etc/hello.conf"]["kind"] == "denied"
    done = tracejail("update", ground.manifest)
    assert (done.status, "KEPT" in done.out) == (1, True)
    assert (ground.jail / "etc/hello.conf").read_text() == "world\n"
    assert kinds(ground) == {"/etc/hello.conf": "denied"}


def test_several_and_a_directory(ground: Ground) -> None:
    place = ground.top / "manifests"
    place.mkdir()
    text = ground.manifest.read_text()
    for name in ("a", "b"):
        (place / f"{name}.json").write_text(text)
    (place / "c.json").write_text(text.replace(str(ground.jail), f"{ground.jail}.gone"))
    (place / "d.json").write_text("{}")
    (place / "note.txt").write_text("none")
    done = tracejail("status", "--json", place)
    assert [jail["status"] for jail in done.json["jails"]] == [0, 0, 5, 2]
    assert done.status == 5
    assert "no such" in done.json["jails"][2]["error"].lower()
    assert tracejail("status", ground.manifest, place / "a.json").status == 0


def test_its_calls_grow_with_the_files_and_no_faster(ground: Ground) -> None:
    text, counts = ground.manifest.read_text(), []
    for many in (3, 6, 9):
        place = ground.top / f"of-{many}"
        place.mkdir()
        for number in range(many):
            jail = place / f"jail-{number}"
            shutil.copytree(ground.jail, jail, symlinks=True, ignore=lambda top, _: ["dev"] if top == str(ground.jail) else [])
            (place / f"{number}.json").write_text(text.replace(str(ground.jail), str(jail)))
        trace = ground.top / "trace"
        for _ in range(2):
            run_words(["strace", "-f", "-o", str(trace), *COMMAND, "status", str(place)], None, ENVIRONMENT)
            counts.append(trace.read_bytes().count(b"\n"))
    for first, second, third in (counts[::2], counts[1::2]):
        assert third - second < 1.2 * (second - first) + 100, counts


@pytest.mark.parametrize(
    "words", [("status",), ("status", "/nowhere.json"), ("update", "/nowhere.json"), ("update", "--hook", "rpm")]
)
def test_bad_words(words: tuple[str, ...]) -> None:
    done = tracejail(*words)
    assert done.status == 2
    if words != ("status", "/nowhere.json"):
        two_lines(done)
