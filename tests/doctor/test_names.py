"""Names, times, locales and trust: files that libraries look up on the way, and fail or go on without."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, diagnosis, empty_jail, learned, names, script


def _no_line(jail: Path) -> None:
    names("/usr/bin/id", etc=("nsswitch.conf", "group"))(jail)
    script(jail, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)


def _dangling_resolv(jail: Path) -> None:
    names("/usr/bin/getent", etc=("nsswitch.conf", "hosts", "host.conf"))(jail)
    (jail / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")


_PYTHON = "/usr/bin/python3"
_TRUST = (_PYTHON, "-c", "import ssl; c = ssl.create_default_context(cafile='/etc/ssl/certs/ca-certificates.crt'); print('ok')")
_MODULE = (_PYTHON, "-c", "import json; print('ok')")
_PERL = ("/usr/bin/perl", "-MPOSIX", "-e", "print POSIX::floor(1.5)")

_OF_ZONE = ("--from", "{host}")
_DATE = learned("/usr/bin/date", gone="/etc/localtime")


def _in_zone(zone: str, made: Callable[[Path], None]) -> Callable[[Path], None]:
    """A jail without the host's time zone, and beside it a host that has one."""

    def build(jail: Path) -> None:
        made(jail)
        host = jail.parent / "host"
        shutil.copytree(jail, host, symlinks=True, ignore=lambda *_: ["dev"])
        shutil.copy(f"/usr/share/zoneinfo/{zone}", host / "etc/localtime")

    return build


CASES = (
    Case("N1", names("/usr/bin/id", etc=("group",)), ("/usr/bin/id", "daemon"), "/etc/passwd", "no such user"),
    Case("N2", names("/usr/bin/whoami"), ("/usr/bin/whoami",), "/etc/passwd", "cannot find name"),
    Case("N13", names("/usr/bin/getent", etc=("nsswitch.conf",)), ("/usr/bin/getent", "protocols", "tcp"), "/etc/protocols",
         seen="ENOENT"),
    Case("N9", names("/usr/bin/getent", etc=("nsswitch.conf",)), ("/usr/bin/getent", "ahosts", "localhost"), "/etc/hosts",
         more=True, healthy="127.0.0.1", seen="ENOENT"),
    Case("T3", _in_zone("Europe/Paris", names("/usr/bin/perl")),
         ("/usr/bin/perl", "-e", "$ENV{TZ} = ''; delete $ENV{TZ}; print scalar localtime 0"), "/etc/localtime", "00:00:00 1970",
         options=_OF_ZONE, healthy="01:00:00 1970"),
    Case("T1", _in_zone("Europe/Paris", _DATE), ("/usr/bin/date",), "/etc/localtime", "UTC", options=_OF_ZONE, healthy="CE"),
    Case("T2, by its environment", names("/usr/bin/date"), ("/usr/bin/date",), "/usr/share/zoneinfo/Europe/Paris",
         " Europe ", options=("-E", "TZ=Europe/Paris", "-E", "LC_ALL=C")),
    Case("T6", names("/usr/bin/perl"), ("/usr/bin/perl", "-e", "print 1"), "/usr/lib/locale/C.utf8/LC_CTYPE",
         "Setting locale failed", options=("-E", "LC_ALL=C.UTF-8"), more=True),
    Case("C5", learned("/usr/bin/openssl", "rand", "-hex", "4", gone="/usr/lib/ssl/openssl.cnf"),
         ("/usr/bin/openssl", "rand", "-hex", "4"), "/usr/lib/ssl/openssl.cnf", seen="ENOENT"),
    Case("N10", _dangling_resolv, ("/usr/bin/getent", "ahosts", "example.org"), "/etc/resolv.conf",
         more=True, seen=":53"),
    Case("C1", learned(*_TRUST, gone="/etc/ssl/certs/ca-certificates.crt"), _TRUST, "/etc/ssl/certs/ca-certificates.crt",
         "No such file", healthy="ok"),
    Case("learned in another locale", learned(*_MODULE, locale="C.UTF-8"), _MODULE, "/usr/lib/python3.11/encodings/ascii.py",
         "unknown encoding", "fewer-names", healthy="ok"),
    Case("P16", learned(*_MODULE, gone="/usr/lib/python3.11/encodings"), _MODULE, "/usr/lib/python3.11/encodings", "encodings"),
    Case("P17", learned(*_PERL, gone="/usr/lib/x86_64-linux-gnu/perl-base/POSIX.pm"), _PERL,
         "/usr/lib/x86_64-linux-gnu/perl-base/POSIX.pm", "Can't locate", healthy="1"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)


@pytest.mark.parametrize(("zone", "found"), [("Europe/Paris", True), ("Etc/UTC", False)])
def test_t1(zone: str, found: bool) -> None:
    """The time zone of the host is lost; where that is UTC, nothing is."""
    case = Case("T1", _in_zone(zone, _DATE), ("/usr/bin/date",), "/etc/localtime", options=_OF_ZONE)
    with empty_jail() as jail:
        case.build(jail)
        said = diagnosis(jail, case)
        likely = [each["path"] for each in said["findings"] if each["confidence"] == "likely"]
        assert likely == (["/etc/localtime"] if found else []), said["findings"]
        assert said["status"] == found
