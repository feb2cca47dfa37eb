"""Names, times, locales and trust: files that libraries look up on the way, and fail or go on without."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, copy, diagnosis, empty_jail, put, script
from tests.tool import tracejail

_LIBRARIES = "/lib/x86_64-linux-gnu"


def _names(*programs: str, etc: tuple[str, ...] = ()) -> Callable[[Path], None]:
    """Programs with the name services that they load, and these files of /etc."""

    def build(jail: Path) -> None:
        put(jail, *programs)
        (jail / "etc").mkdir()
        for name in etc:
            copy(jail, f"/etc/{name}")

    return build


def _learned(*command: str, gone: str) -> Callable[[Path], None]:
    """A jail that was learned, without one thing."""

    def build(jail: Path) -> None:
        jail.rmdir()
        learned = tracejail("learn", "-q", "-j", jail, "-m", jail.parent / "jail.json", *command, cwd=Path("/"))
        assert learned.status == 0, learned.err
        place = jail / gone.lstrip("/")
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()

    return build


def _no_line(jail: Path) -> None:
    _names("/usr/bin/id", etc=("nsswitch.conf", "group"))(jail)
    script(jail, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)


def _dangling_resolv(jail: Path) -> None:
    _names("/usr/bin/getent", etc=("nsswitch.conf", "hosts", "host.conf"))(jail)
    (jail / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")


_PYTHON = "/usr/bin/python3"
_TRUST = (_PYTHON, "-c", "import ssl; c = ssl.create_default_context(cafile='/etc/ssl/certs/ca-certificates.crt'); print('ok')")
_MODULE = (_PYTHON, "-c", "import json; print('ok')")
_PERL = ("/usr/bin/perl", "-MPOSIX", "-e", "print POSIX::floor(1.5)")

CASES = (
    Case("N1", _names("/usr/bin/id", etc=("group",)), ("/usr/bin/id", "daemon"), "/etc/passwd", "no such user"),
    Case("N2", _names("/usr/bin/whoami"), ("/usr/bin/whoami",), "/etc/passwd", "cannot find name"),
    Case("N13", _names("/usr/bin/getent", etc=("nsswitch.conf",)), ("/usr/bin/getent", "protocols", "tcp"), "/etc/protocols"),
    Case("N9", _names("/usr/bin/getent", etc=("nsswitch.conf",)), ("/usr/bin/getent", "ahosts", "localhost"), "/etc/hosts"),
    Case("T2, by its environment", _names("/usr/bin/date"), ("/usr/bin/date",), "/usr/share/zoneinfo/Europe/Paris",
         options=("-E", "TZ=Europe/Paris", "-E", "LC_ALL=C")),
    Case("T6", _names("/usr/bin/perl"), ("/usr/bin/perl", "-e", "print 1"), "/usr/lib/locale/C.utf8/LC_CTYPE",
         options=("-E", "LC_ALL=C.UTF-8")),
    Case("C5", _learned("/usr/bin/openssl", "rand", "-hex", "4", gone="/usr/lib/ssl/openssl.cnf"),
         ("/usr/bin/openssl", "rand", "-hex", "4"), "/usr/lib/ssl/openssl.cnf"),
    Case("N10", _dangling_resolv, ("/usr/bin/getent", "ahosts", "example.org"), "/etc/resolv.conf"),
    Case("P16", _learned(*_MODULE, gone="/usr/lib/python3.11/encodings"), _MODULE, "/usr/lib/python3.11/encodings", "encodings"),
    Case("P17", _learned(*_PERL, gone="/usr/lib/x86_64-linux-gnu/perl-base/POSIX.pm"), _PERL,
         "/usr/lib/x86_64-linux-gnu/perl-base/POSIX.pm", "Can't locate", healthy="1"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)


@pytest.mark.parametrize(("zone", "found"), [("Europe/Paris", True), ("Etc/UTC", False)])
def test_t1(zone: str, found: bool) -> None:
    """The time zone of the host is lost; where that is UTC, nothing is."""
    case = Case("T1", _learned("/usr/bin/date", gone="/etc/localtime"), ("/usr/bin/date",), "/etc/localtime")
    with empty_jail() as jail:
        case.build(jail)
        host = jail.parent / "host"
        shutil.copytree(jail, host, symlinks=True, ignore=lambda *_: ["dev"])
        shutil.copy(f"/usr/share/zoneinfo/{zone}", host / "etc/localtime")
        said = diagnosis(jail, case, "--from", str(host))
        likely = [each["path"] for each in said["findings"] if each["confidence"] == "likely"]
        assert likely == (["/etc/localtime"] if found else []), said["findings"]
        assert said["status"] == found
