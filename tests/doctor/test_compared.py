"""The same command with the host as its root: what it adds, and that the host notices nothing of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, copy, diagnosis, empty_jail, put, script
from tests.tool import tracejail

_DASH, _PERL = "/bin/dash", "/usr/bin/perl"
_TOOLS = ("cat", "rm", "mkdir", "mknod", "chmod", "chown", "hostname")
_SERVES = (
    "use Socket; socket(S, PF_INET, SOCK_STREAM, 0) or die; bind(S, sockaddr_in(0, INADDR_LOOPBACK)) or die; listen(S, 1) or die;"
    "$SIG{TERM} = sub { exit 0 }; sleep 1 while 1;"
)


def _apt(jail: Path) -> None:
    jail.rmdir()
    learned = tracejail("learn", "-q", "-j", jail, "-m", jail.parent / "jail.json", "/usr/bin/apt-config", "dump", cwd=Path("/"))
    assert learned.status == 0, learned.err
    (jail / "etc/apt/apt.conf.d/70debconf").unlink()


def _other_release(jail: Path) -> None:
    put(jail, _DASH)
    script(jail, "/etc/os-release", "NAME='Debian\n", 0o644)


CASES = (
    Case("one file of a directory of settings", _apt, ("/usr/bin/apt-config", "dump"), "/etc/apt/apt.conf.d/70debconf",
         rule="fewer-names", seen="getdents64"),
    Case("a file that is other than the host's", _other_release, (_DASH, "-c", ". /etc/os-release"), "/etc/os-release",
         "Unterminated", "other-contents", by_hand=("cp /etc/os-release {jail}/etc/os-release",)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)


def test_the_jail_is_not_at_fault_where_it_dies_so_on_the_host() -> None:
    with empty_jail() as jail:
        put(jail, _DASH)
        words = ("doctor", "-j", jail, _DASH, "-c", "echo sorry >&2; exit 5")
        told = tracejail(*words, cwd=Path("/"))
        assert told.status == 3
        assert "on the host it dies as well, with the same words" in told.out


def test_what_fails_on_the_host_too_is_noise() -> None:
    # It looks for what the host has, and may not have it there either: it dies of its last line alone.
    text = "cat < /etc/hostname/x; cat < /etc/machine-id; exit 4"
    with empty_jail() as jail:
        put(jail, _DASH, "/bin/cat")
        copy(jail, "/etc/machine-id")
        case = Case("noise", lambda _: None, (_DASH, "-c", text), "")
        said = diagnosis(jail, case)
        assert said["compared"] == {"healthy": False, "ended": "exited with status 4"}
        assert said["findings"] == []
        assert said["status"] == 3


@pytest.mark.parametrize(("when", "compared"), [("auto", True), ("always", True), ("never", False)])
def test_when(when: str, compared: bool) -> None:
    with empty_jail() as jail:
        put(jail, _DASH)
        case = Case("when", lambda _: None, (_DASH, "-c", "exit 4"), "", options=("--compare", when))
        assert bool(diagnosis(jail, case)["compared"]) is compared


def test_one_that_serves_is_not_run_on_the_host_unasked() -> None:
    with empty_jail() as jail:
        jail.rmdir()
        learned = tracejail("learn", "-q", "-j", jail, "-m", jail.parent / "jail.json", _PERL, "-e", _SERVES, cwd=Path("/"))
        assert learned.status == 0, learned.err
        case = Case("serves", lambda _: None, (_PERL, "-e", _SERVES), "")
        said = diagnosis(jail, case)
        assert (said["status"], said["compared"]) == (0, None)
        assert diagnosis(jail, case, "--compare", "always")["compared"]["healthy"] is True


def test_the_host_is_not_changed() -> None:
    place = Path(tempfile.mkdtemp(prefix="tracejail-outside."))
    (place / "kept").write_text("kept")
    hurts = (
        f"echo x > {place}/new; rm {place}/kept; mkdir /tracejail-was-here; kill -9 {os.getpid()};"
        f"mknod {place}/disk b 1 0 && cat {place}/disk; head -c 1 /dev/vda /dev/sda /dev/mem /dev/kmsg; hostname hurt;"
        "chmod 700 /dev/null; chown 1 /dev/zero; echo 1 > /proc/sys/kernel/panic; cat /etc/shadow > /dev/null || exit 9; exit 4"
    )
    try:
        with empty_jail() as jail:
            put(jail, _DASH, "/usr/bin/head", *(f"/bin/{name}" for name in _TOOLS))
            panic = Path("/proc/sys/kernel/panic").read_text()
            devices = [(os.stat(path).st_mode, os.stat(path).st_uid) for path in ("/dev/null", "/dev/zero")]
            case = Case("hurts", lambda _: None, (_DASH, "-c", hurts), "", options=("--compare", "always"))
            said = diagnosis(jail, case)
            assert said["compared"]["ended"] == "exited with status 4"
            assert Path("/proc/sys/kernel/panic").read_text() == panic
            assert [(os.stat(path).st_mode, os.stat(path).st_uid) for path in ("/dev/null", "/dev/zero")] == devices
        assert [each.name for each in place.iterdir()] == ["kept"]
        assert not Path("/tracejail-was-here").exists()
        assert os.uname().nodename != "hurt"
    finally:
        shutil.rmtree(place)
