"""Ways that end elsewhere than they should, files that are not whole, file systems that are full."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, diagnosis, empty_jail, put, script
from tests.tool import tracejail

_DASH, _CAT, _PYTHON = "/bin/dash", "/bin/cat", "/usr/bin/python3"
_LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
_BASE = "import sqlite3; sqlite3.connect('/var/lib/app/base').execute('create table names(name)')"


def _loop(jail: Path) -> None:
    put(jail, _CAT)
    (jail / "etc").mkdir()
    (jail / "etc/app").symlink_to("other")
    (jail / "etc/other").symlink_to("app")


def _settings_are_a_file(jail: Path) -> None:
    put(jail, _CAT)
    (jail / "etc").mkdir()
    script(jail, "/etc/apt", "", 0o644)


def _closed_root(jail: Path) -> None:
    put(jail, _CAT)
    jail.chmod(0o700)


def _library(size: int) -> object:
    def build(jail: Path) -> None:
        put(jail, _CAT)
        place = jail / _LIBC[1:]
        place.write_bytes(place.read_bytes()[:size])

    return build


def _full(jail: Path) -> None:
    put(jail, _DASH)
    (jail / "data").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", jail / "data"], check=True)
    (jail / "data/fill").write_bytes(b"x" * 65536)


def _learned(jail: Path) -> None:
    jail.rmdir()
    words = ("learn", "-q", "-j", jail, "-m", jail.parent / "jail.json", _PYTHON, "-c", "import sqlite3")
    learned = tracejail(*words, cwd=Path("/"), env={"LC_ALL": "C"})
    assert learned.status == 0, learned.err


CASES = (
    Case("a link that leads to itself", _loop, (_CAT, "/etc/app/conf"), "/etc/app", "Too many levels", "link-loop", status=1,
         by_hand=("rm {jail}/etc/app {jail}/etc/other; mkdir {jail}/etc/app; touch {jail}/etc/app/conf",)),
    Case("a file where a directory belongs", _settings_are_a_file, (_CAT, "/etc/apt/apt.conf.d/70debconf"), "/etc/apt",
         "Not a directory", "not-a-directory"),
    Case("a root that is closed to the user", _closed_root, (_CAT, "/dev/null"), "/", "Permission denied",
         options=("-u", "nobody")),
    Case("an empty library", _library(0), (_CAT, "/dev/null"), "/lib/x86_64-linux-gnu/libc.so.6", "too short", "broken-library"),
    Case("a library cut short", _library(30000), (_CAT, "/dev/null"), "/lib/x86_64-linux-gnu/libc.so.6", "", "broken-library",
         seen="libc.so.6"),
    Case("a link of /dev that became a file", lambda jail: put(jail, _DASH), (_DASH, "-c", "echo lost > /dev/stdout"),
         "/dev/stdout", "", "device-made-file", seen="O_CREAT", healthy="lost"),
    Case("a full file system", _full, (_DASH, "-c", "echo much > /data/new"), "/data", "I/O error", "full",
         by_hand=("rm {jail}/data/fill",)),
    Case("what the host lacks too", _learned, (_PYTHON, "-c", _BASE), "/var/lib/app", "unable to open", "parent"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)


def test_a_tree_is_brought_without_its_secrets() -> None:
    """The directory is read, and lacks what the host has in it: a key among it."""
    with empty_jail() as jail, empty_jail() as host:
        for tree in (jail, host):
            put(tree, "/usr/bin/perl")
            (tree / "etc/app").mkdir(parents=True)
        (host / "etc/app/private").mkdir()
        words = ("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(host / "etc/app/private/key.pem"))
        subprocess.run(words, check=True, capture_output=True)
        script(host, "/etc/app/app.conf", "listen 80\n", 0o644)
        reads = ("/usr/bin/perl", "-e", "opendir(D, '/etc/app') or die; print readdir D")
        case = Case("secrets", lambda _: None, reads, "/etc/app", options=("--from", str(host)))
        (first, *_) = diagnosis(jail, case)["findings"]
        assert (first["rule"], first["path"]) == ("empty-directory", "/etc/app")
        for command in first["remedy"]:
            subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
        assert (jail / "etc/app/app.conf").read_text() == "listen 80\n"
        assert not (jail / "etc/app/private/key.pem").exists()


def test_the_home_of_a_user_is_not_brought() -> None:
    with empty_jail() as jail:
        put(jail, _DASH)
        case = Case("home", lambda _: None, (_DASH, "-c", "cd /root"), "/root")
        (first, *_) = diagnosis(jail, case)["findings"]
        assert first["path"] == "/root"
        for command in first["remedy"]:
            subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
        assert os.listdir(jail / "root") == []
