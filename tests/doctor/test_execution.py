"""What chroot(8) says with one sentence, told apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, copy, empty_jail, put, script

_NOT_THERE = "No such file or directory"
_LOADER = "/lib64/ld-linux-x86-64.so.2"


def _only(jail: Path, program: str) -> None:
    (jail / "usr/bin").mkdir(parents=True)
    copy(jail, "/bin")
    shutil.copy2(program, jail / "usr/bin")


def _without(program: str, *gone: str) -> object:
    def build(jail: Path) -> None:
        put(jail, program)
        for path in gone:
            (jail / path.lstrip("/")).unlink()

    return build


def _script(first: str, *programs: str, mode: int = 0o755) -> object:
    def build(jail: Path) -> None:
        put(jail, *programs)
        script(jail, "/start.sh", f"{first}\necho hi\n", mode)

    return build


def _awk(jail: Path) -> None:
    put(jail, "/usr/bin/mawk")
    for link in ("/usr/bin/awk",):
        (jail / link.lstrip("/")).symlink_to("/etc/alternatives/awk")


def _cut_short(jail: Path) -> None:
    put(jail, "/usr/bin/cat")
    place = jail / "usr/bin/cat"
    place.write_bytes(place.read_bytes()[:9000])
    place.chmod(0o755)


def _other_machine(jail: Path) -> None:
    put(jail, "/usr/bin/dash")
    data = bytearray((jail / "usr/bin/dash").read_bytes())
    data[18:20] = b"\xb7\x00"  # EM_AARCH64
    (jail / "usr/bin/prog").write_bytes(data)
    (jail / "usr/bin/prog").chmod(0o755)


def _is_empty(jail: Path) -> None:
    put(jail, "/usr/bin/dash")
    script(jail, "/usr/bin/cat", "")


def _closed(jail: Path) -> None:
    put(jail, "/usr/bin/cat", "/usr/bin/dash")
    (jail / "usr").chmod(0o700)


def _closed_root(jail: Path) -> None:
    put(jail, "/usr/bin/cat")
    jail.chmod(0o700)


def _for_root(jail: Path) -> None:
    put(jail, "/usr/bin/perl", "/usr/bin/cat")
    (jail / "usr/bin/cat").chmod(0o750)


_BECOMES = "$) = '1 1'; $( = 1; $> = 1; $< = 1;"

CASES = (
    Case("E1", lambda jail: _only(jail, "/usr/bin/ls"), ("/bin/ls",), _LOADER, _NOT_THERE, "loader", more=True),
    Case("E2", _script("#!/bin/bash", "/usr/bin/dash"), ("/start.sh",), "/bin/bash", _NOT_THERE, "script-interpreter",
         healthy="hi"),
    Case("E4", _script("#!/usr/bin/env perl", "/usr/bin/env"), ("/start.sh",), "/usr/bin/perl", _NOT_THERE, "program",
         more=True),
    Case("E5", _other_machine, ("/usr/bin/prog",), "/usr/bin/prog", _NOT_THERE, "architecture",
         by_hand=("cp /usr/bin/dash {jail}/usr/bin/prog",)),
    Case("E7", _awk, ("/usr/bin/awk", "BEGIN { print 7 }"), "/etc/alternatives/awk", _NOT_THERE, "dangling-link", healthy="7"),
    Case("E8", _without("/usr/bin/cat", "/lib64"), ("/bin/cat", "/dev/null"), "/lib64", _NOT_THERE, "loader-link"),
    Case("E16", _script("#!/bin/sh", "/usr/bin/dash", mode=0o644), ("/start.sh",), "/start.sh", "Permission denied", "no-x-bit",
         more=True),
    Case("the program is not there", lambda jail: put(jail, "/usr/bin/cat"), ("/usr/bin/ls", "/"), "/usr/bin/ls", _NOT_THERE,
         "program", healthy="usr"),
    Case("carriage return", _script("#!/bin/sh\r", "/usr/bin/dash"), ("/start.sh",), "/start.sh", _NOT_THERE, "carriage-return",
         by_hand=("sed -i 's/\\r$//' {jail}/start.sh",), more=True),
    Case("cut short", _cut_short, ("/usr/bin/cat", "/dev/null"), "/usr/bin/cat", "", "broken-program", seen="EFAULT"),
    Case("empty", _is_empty, ("/usr/bin/cat", "/dev/null"), "/usr/bin/cat", _NOT_THERE, "empty-program"),
    Case("closed to its user", _closed, ("/bin/cat", "/dev/null"), "/usr", "Permission denied", "closed-program",
         options=("-u", "daemon")),
    Case("its root is closed to its user", _closed_root, ("/bin/cat", "/dev/null"), "/", "Permission denied", "closed-program",
         options=("-u", "daemon")),
    Case("closed to whom it has become", _for_root, ("/usr/bin/perl", "-e", _BECOMES + "exec '/usr/bin/cat', '/dev/null'"),
         "/usr/bin/cat", "", "closed-program", seen="EACCES", more=True),
    Case("P7, of a shell", lambda jail: put(jail, "/usr/bin/dash"), ("/bin/dash", "-c", "echo hi > /var/log/x"), "/var/log",
         "nonexistent",
         "parent"),
    Case("a file", lambda jail: put(jail, "/usr/bin/cat"), ("/bin/cat", "/etc/os-release"), "/etc/os-release", _NOT_THERE,
         healthy="Debian"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)
