"""`tracejail run`: a program that is started has what was promised, and no more; and finds no way out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import tracejail

from .place import built, run

_NONE = "0" * 16
_BIND = 10            # CAP_NET_BIND_SERVICE


@pytest.fixture(scope="module")
def jail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two static programs."""
    return built(tmp_path_factory.mktemp("run") / "jail", "standing", "escape")


def standing(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) if " " in line else (line, "") for line in text.splitlines() if not line.startswith("env"))


def test_only_what_was_promised(jail: Path) -> None:
    hard = "exec 7</ 8</etc 9</dev/null; umask 002; trap '' HUP USR1; "
    words = ("-u", "daemon", "--limit", "nproc=64", "-E", "A=b", "/standing", "0")
    done = run(jail, hard, *words, env={"LD_PRELOAD": "", "SECRET": "s", "HOME": "/root"})
    assert (done.status, done.err) == (0, "")
    seen = standing(done.out)
    assert seen["uid"] == seen["gid"] == "1 1 1"
    assert seen["groups"] in ("1", "")
    assert (seen["umask"], seen["no_new_privs"]) == ("077", "1")
    assert {seen[name] for name in ("effective", "permitted", "inheritable", "bounding", "ambient")} == {_NONE}
    assert seen["descriptors"] == "0 1 2"
    assert (seen["cwd"], seen["session"], seen["terminal"], seen["keyring"]) == ("/", "own", "none", "own")
    assert (seen["nproc"], seen["signals"]) == ("64", "0")
    environment = [line for line in done.out.splitlines() if line.startswith("env")]
    assert [line.partition("=")[0] for line in environment] == ["env A", "env PATH"]


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_closed_descriptors(jail: Path, closed: str) -> None:
    """No file of ours takes their place."""
    done = run(jail, f"exec {closed}; ", "-u", "daemon", "/standing")
    assert done.status == 0
    assert standing(done.out)["descriptors"] == "0 1 2"


def test_a_directory_among_the_sockets(jail: Path) -> None:
    """It would be a way out."""
    passed = "export LISTEN_FDS=1 LISTEN_PID=$$; exec 3< /; "
    done = run(jail, passed, "-u", "daemon", "/standing")
    assert done.status == 125
    assert "descriptor 3 is a directory" in done.err


def test_a_capability_that_is_kept(jail: Path) -> None:
    done = run(jail, "", "-u", "daemon", "--keep-cap", "net_bind_service", "/standing")
    seen = standing(done.out)
    kept = f"{1 << _BIND:016x}"
    assert {seen[name] for name in ("effective", "permitted", "inheritable", "bounding", "ambient")} == {kept}, done
    assert seen["uid"] == "1 1 1"


def test_no_way_out(jail: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        done = run(jail, "exec 7</ 8</etc; ", "-u", "daemon", "--chdir", "/work", "/escape", str(other.pid), "etc/passwd")
    finally:
        other.kill()
        other.wait()
    lines = done.out.splitlines()
    assert len(lines) == 11, done
    assert [line for line in lines if not line.endswith(" held")] == []


@pytest.mark.parametrize(("before", "words", "status", "says"), [
    ("", ("-u", "daemon", "/standing", "7"), 7, ""),
    ("", ("-u", "daemon", "/lost"), 127, "/lost: is not in the jail"),
    ("", ("-u", "daemon", "lost"), 127, "in no directory of PATH"),
    ("chmod 644 /mnt/jail/standing; ", ("-u", "daemon", "/standing"), 126, "may not execute it"),
    ("printf x > /mnt/jail/bad; chmod 755 /mnt/jail/bad; ", ("-u", "daemon", "/bad"), 126, "Exec format error"),
    ("chmod 4755 /mnt/jail/standing; ", ("-u", "daemon", "/standing"), 125, "set-user-ID"),
    ("setcap cap_net_raw+ep /mnt/jail/standing; ", ("-u", "daemon", "/standing"), 125, "capabilities of its own"),
    ("chmod g+w /mnt/jail; ", ("-u", "daemon", "/standing"), 125, "others than root can write"),
    ("chmod o+w /mnt; ", ("-u", "daemon", "/standing"), 125, "/mnt: others than root"),
    ("chown daemon /mnt/jail; ", ("-u", "daemon", "/standing"), 125, "belongs to user 1"),
    ("", ("/standing",), 125, "no user is named"),
    ("", ("-u", "root", "/standing"), 125, "user 0"),
    ("", ("-u", "0:0", "/standing"), 125, "user 0"),
    ("", ("-u", "nobody-knows", "/standing"), 125, "no such user"),
    ("", ("-u", "daemon", "--keep-cap", "fly", "/standing"), 125, "no such capability"),
    ("", ("-u", "daemon", "--limit", "nproc=many", "/standing"), 125, "no number"),
    ("", ("-u", "daemon", "--umask", "9", "/standing"), 125, "no octal number"),
    ("", ("-u", "daemon", "--chdir", "/lost", "/standing"), 125, "/lost"),
])
def test_statuses(jail: Path, before: str, words: tuple[str, ...], status: int, says: str) -> None:
    done = run(jail, before, *words)
    assert done.status == status, done
    assert says in done.err
    assert "Traceback" not in done.err


def test_root_where_it_is_asked_for(jail: Path) -> None:
    seen = standing(run(jail, "", "-u", "root", "--allow-root", "/standing").out)
    assert seen["uid"] == "0 0 0"
    assert seen["bounding"] == _NONE


def test_the_steps_are_said_and_not_done(jail: Path) -> None:
    done = run(jail, "", "-n", "-u", "daemon", "/standing")
    assert done.status == 0
    assert done.out.splitlines()[-1] == "execute /standing"
    assert "uid 1 (daemon)" in done.out


_CANARY = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void sing(void) {
    char line[32];
    int length = snprintf(line, sizeof line, "%u %u\\n", geteuid(), getegid());
    int song = open("/work/song", O_WRONLY | O_CREAT | O_APPEND, 0666);
    (void)!write(song, line, length);
    close(song);
}
"""


_THEN_SING = '"$@" || :; cat /mnt/jail/work/song >&2; exit; '


def test_nothing_of_the_jail_is_loaded_with_privilege(jail: Path, tmp_path: Path) -> None:
    """Its libraries, its preloads and its name services all sing when they are loaded, and the program loads them itself."""
    (tmp_path / "canary.c").write_text(_CANARY)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "canary.so", tmp_path / "canary.c"], check=True)
    poison = f"""
        cd /mnt/jail
        mkdir -p etc usr/bin lib64 lib/x86_64-linux-gnu
        cp /usr/bin/id usr/bin
        for need in $(ldd /usr/bin/id | grep -o '/[^ ]*'); do cp $need .$need; done
        cp {tmp_path}/canary.so work
        cp {tmp_path}/canary.so lib/x86_64-linux-gnu/libnss_canary.so.2
        echo /work/canary.so > etc/ld.so.preload
        echo 'passwd: canary files' > etc/nsswitch.conf
        cd /
    """
    done = run(jail, poison + _THEN_SING, "-u", "daemon", "/usr/bin/id", env={"LANG": "C.UTF-8", "LD_BIND_NOW": "1"})
    assert "uid=1" in done.out, done
    assert {*done.err.splitlines()} == {"1 1"}


def test_nothing_is_imported_from_the_jail(jail: Path) -> None:
    """What goes wrong after the chroot is told in words that are known already."""
    package, library = Path(tracejail.__file__).parent, Path(os.__file__).parent
    poison = f"""
        for at in {package}/cli {package} {library} {library}/encodings; do
            mkdir -p /mnt/jail$at
            for name in escape errors codecs locale traceback linecache site __init__ idna ascii; do
                echo "open('/work/song', 'w').write('sung')" > /mnt/jail$at/$name.py
            done
        done
    """
    done = run(jail, poison + _THEN_SING, "-u", "daemon", "--chdir", "/lost", "/standing")
    assert "/lost, the working directory in the jail" in done.err
    assert "sung" not in done.err
