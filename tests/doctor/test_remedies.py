"""What is pasted, and what --apply does: in the jail alone, whole, and no secret."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.jails import Case, by_chroot, copy, devices, diagnosis, digest, empty_jail, put, script
from tests.tool import tracejail

_DASH, _CAT, _PERL = "/bin/dash", "/bin/cat", "/usr/bin/perl"
_LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


def _first(jail: Path, words: tuple[str, ...], *options: str) -> dict[str, Any]:
    said = diagnosis(jail, Case("", lambda _: None, words, "", options=options))
    assert said["findings"], said
    return dict(said["findings"][0])


def _paste(finding: dict[str, Any]) -> None:
    for command in finding["remedy"]:
        subprocess.run(["bash", "-ec", command], check=True, capture_output=True)


def _apply(jail: Path, words: tuple[str, ...], *options: str) -> str:
    done = tracejail("doctor", "-j", jail, "--apply", *options, *words, cwd=Path("/"), env={"LC_ALL": "C"})
    assert "Traceback" not in done.err
    return done.out + done.err


def _classic(jail: Path) -> None:
    """A jail as they were made before /bin became a link: directories of its own there."""
    for name in ("bin", "lib/x86_64-linux-gnu", "lib64"):
        (jail / name).mkdir(parents=True)
    shutil.copy(_CAT, jail / "bin/cat")
    shutil.copy(_LIBC, jail / _LIBC[1:])
    devices(jail)


@pytest.mark.parametrize("way", ["pasted", "applied"])
def test_a_jail_with_directories_of_its_own_is_cured(way: str) -> None:
    words = ("/bin/cat", "/dev/null")
    with empty_jail() as jail:
        _classic(jail)
        if way == "pasted":
            _paste(_first(jail, words))
        else:
            assert "IT LIVES" in _apply(jail, words)
        assert by_chroot(jail, words).status == 0


@pytest.mark.parametrize("way", ["pasted", "applied"])
def test_an_absolute_link_does_not_lead_outside(way: str) -> None:
    """In the jail /var/tmp leads to a path that is a directory of the host's as well."""
    words = (_DASH, "-c", "echo x > /var/tmp/new")
    with empty_jail() as jail:
        put(jail, _DASH)
        outside = jail.parent / "outside"
        outside.mkdir(mode=0o755)
        within = jail / str(outside)[1:]
        within.mkdir(mode=0o755, parents=True)
        for above in (within, *within.parents):
            if above.is_relative_to(jail):
                above.chmod(0o755)
        (jail / "var").mkdir()
        (jail / "var/tmp").symlink_to(outside)
        before = digest(outside), os.stat(outside).st_mode
        if way == "pasted":
            _paste(_first(jail, words, "-u", "nobody"))
        else:
            _apply(jail, words, "-u", "nobody")
        assert (digest(outside), os.stat(outside).st_mode) == before
        assert within.stat().st_mode & 0o7777 == 0o1777


@pytest.mark.parametrize("way", ["pasted", "applied"])
def test_a_line_goes_where_the_link_leads_in_the_jail(way: str) -> None:
    words = ("/usr/bin/id", "daemon")
    with empty_jail() as jail:
        put(jail, "/usr/bin/id")
        for name in ("etc", "data"):
            (jail / name).mkdir()
        script(jail, "/data/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
        (jail / "etc/passwd").symlink_to("/data/passwd")
        copy(jail, "/etc/group")
        script(jail, "/etc/nsswitch.conf", "passwd: files\ngroup: files\n", 0o644)
        if way == "pasted":
            _paste(_first(jail, words))
        else:
            _apply(jail, words)
        assert "daemon:" in (jail / "data/passwd").read_text()
        assert by_chroot(jail, words).status == 0


@pytest.mark.parametrize("way", ["pasted", "applied"])
def test_a_tree_goes_where_the_link_leads_in_the_jail(way: str) -> None:
    words = (_PERL, "-e", "opendir(D, '/etc/apt/apt.conf.d') or die; print readdir D")
    with empty_jail() as jail:
        put(jail, _PERL)
        place = jail / "data/conf/apt/apt.conf.d"
        place.mkdir(parents=True)
        (jail / "etc").symlink_to("/data/conf")
        if way == "pasted":
            _paste(_first(jail, words))
        else:
            _apply(jail, words)
        assert sorted(os.listdir(place)) == sorted(os.listdir("/etc/apt/apt.conf.d"))


def test_a_secret_that_is_empty_is_no_cause_and_stays() -> None:
    words = (_CAT, "/etc/shadow")
    with empty_jail() as jail:
        put(jail, _CAT)
        (jail / "etc").mkdir()
        script(jail, "/etc/shadow", "", 0o600)
        said = diagnosis(jail, Case("", lambda _: None, words, ""))
        assert [each for each in said["findings"] if each["path"] == "/etc/shadow"] == []
        _apply(jail, words)
        assert (jail / "etc/shadow").read_text() == ""


def test_names_are_no_patterns_and_one_line_each() -> None:
    """Keys are left out by their names, whatever is in those, and what is like them is not."""
    with empty_jail() as jail, empty_jail() as host:
        for tree in (jail, host):
            put(tree, _PERL)
            (tree / "opt/app").mkdir(parents=True)
        keys = ["a[1].key", "back\\slash.key", "new\nline.key"]
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", host / "opt/app" / keys[0]], check=True)
        for name in keys[1:]:
            shutil.copy(host / "opt/app" / keys[0], host / "opt/app" / name)
        (host / "opt/app/a1.key").write_text("no key\n")
        words = (_PERL, "-e", "opendir(D, '/opt/app') or die; print readdir D")
        finding = _first(jail, words, "--from", str(host))
        assert all("\n" not in command for command in finding["remedy"])
        _paste(finding)
        assert os.listdir(jail / "opt/app") == ["a1.key"]


def test_what_does_not_cure_is_not_left_in_the_jail() -> None:
    text = "my @t = localtime; open F, '<', '/etc/hosts'; die \"bad option\\n\";"
    with empty_jail() as jail:
        put(jail, _PERL)
        before = digest(jail)
        assert "IT STILL DIES" in _apply(jail, (_PERL, "-e", text), "--compare", "never") or digest(jail) == before
        assert digest(jail) == before


def test_a_stale_index_is_made_anew_in_memory() -> None:
    with empty_jail() as jail:
        put(jail, "/bin/ls")
        (jail / "opt/lib").mkdir(parents=True)
        (jail / "lib/x86_64-linux-gnu/libselinux.so.1").rename(jail / "opt/lib/libselinux.so.1")
        done = tracejail("doctor", "-j", jail, "--fix", "/bin/ls", "/", cwd=Path("/"))
        assert "IT LIVES" in done.out, done


def test_a_library_that_is_closed_is_not_lost() -> None:
    with empty_jail() as jail:
        put(jail, "/bin/ls")
        (jail / "lib/x86_64-linux-gnu/libselinux.so.1").chmod(0o600)
        first = _first(jail, ("/bin/ls", "/"), "-u", "nobody")
        assert first["rule"] == "closed"


def test_what_the_program_names_and_nobody_has() -> None:
    with empty_jail() as jail:
        put(jail, _PERL)
        script(jail, "/app.pl", "#!/usr/bin/perl\nopen F, '/opt/app/app.conf' or die \"cannot open /opt/app/app.conf: $!\";\n")
        first = _first(jail, ("/app.pl",))
        assert (first["rule"], first["path"]) == ("nowhere", "/opt/app/app.conf")


def test_no_directory_is_made_where_a_file_is_missing() -> None:
    with empty_jail() as jail:
        put(jail, _PERL)
        text = "#!/usr/bin/perl\n-e '/etc/app.json' or die \"ENOENT: no such file or directory, open '/etc/app.json'\";\n"
        script(jail, "/app.pl", text)
        said = diagnosis(jail, Case("", lambda _: None, ("/app.pl",), ""))
        assert [each for each in said["findings"] if each["rule"] == "wanted-directory"] == []
