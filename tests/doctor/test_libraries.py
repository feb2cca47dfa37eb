"""Libraries that are not found, for different reasons."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, copy, empty_jail, put, script

_SELINUX = "/lib/x86_64-linux-gnu/libselinux.so.1"


def _without_library(jail: Path) -> None:
    put(jail, "/usr/bin/ls")
    (jail / "lib/x86_64-linux-gnu/libselinux.so.1").unlink(missing_ok=True)
    for place in jail.rglob("libselinux.so.1"):
        place.unlink()


def _elsewhere(jail: Path) -> None:
    put(jail, "/usr/bin/ls")
    (jail / "opt/lib").mkdir(parents=True)
    for place in list(jail.rglob("libselinux.so.1")):
        place.rename(jail / "opt/lib/libselinux.so.1")


def _stale(jail: Path) -> None:
    _elsewhere(jail)
    script(jail, "/etc/ld.so.conf", "/opt/lib\n", 0o644)
    subprocess.run(["ldconfig", "-r", jail], check=True)
    (jail / "opt/lib/libselinux.so.1").unlink()


def _broken_library(jail: Path) -> None:
    put(jail, "/usr/bin/ls")
    place = next(place for place in jail.rglob("libselinux.so.1") if not place.is_symlink())
    copy(jail, "/usr/lib/x86_64-linux-gnu/libc.so.6")
    place.write_bytes(next(jail.rglob("libc.so.6")).read_bytes())


CASES = (
    Case("E9", _without_library, ("/bin/ls", "/dev"), _SELINUX, "libselinux.so.1: cannot open", "library", healthy="null"),
    Case("E10", _elsewhere, ("/bin/ls", "/dev"), "/opt/lib/libselinux.so.1", "libselinux.so.1: cannot open", "library-place",
         healthy="null"),
    Case("E11", _stale, ("/bin/ls", "/dev"), _SELINUX, "libselinux.so.1: cannot open", "library", healthy="null"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)


def test_static_finds_the_library_too() -> None:
    with empty_jail() as jail:
        case = Case("", _without_library, ("/bin/ls",), "")
        case.build(jail)
        from tests.doctor.jails import diagnosis

        said = diagnosis(jail, case, "--static")
        assert [each["path"] for each in said["findings"]] == [_SELINUX]
        assert said["runs"] == 0
