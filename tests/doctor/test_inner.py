"""Programs that make a directory of the jail their root by themselves: what that one lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, copy, empty_jail, put, script

_CHROOT, _CAT, _PERL = "/usr/sbin/chroot", "/usr/bin/cat", "/usr/bin/perl"
_INNER = "/srv/inner"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_NOT_THERE = "No such file"


def _inner(*programs: str, etc: tuple[str, ...] = (), outer: tuple[str, ...] = (_CHROOT,)) -> Callable[[Path], None]:
    """A jail with chroot(8) and a directory that holds programs of its own."""

    def build(jail: Path) -> None:
        put(jail, *outer)
        inner = jail / _INNER.lstrip("/")
        inner.mkdir(parents=True)
        if programs:
            put(inner, *programs)
        (inner / "etc").mkdir()
        for name in etc:
            copy(inner, f"/etc/{name}")

    return build


def _without(path: str, build: Callable[[Path], None]) -> Callable[[Path], None]:
    def made(jail: Path) -> None:
        build(jail)
        (jail / path.lstrip("/")).unlink()

    return made


def _both(path: str, build: Callable[[Path], None]) -> Callable[[Path], None]:
    """The file is in the jail, and not in the root within."""

    def made(jail: Path) -> None:
        build(jail)
        copy(jail, path)

    return made


def _closed(jail: Path) -> None:
    _inner(_CAT)(jail)
    (jail / "srv/inner").chmod(0o700)


def _own_conf(jail: Path) -> None:
    """A daemon of its own: the configuration is read before its chroot, and once more at a SIGHUP."""
    _inner(outer=(_PERL,))(jail)
    script(jail, "/etc/app.conf", "x\n", 0o644)


def _in(*command: str) -> tuple[str, ...]:
    return (_CHROOT, _INNER, *command)


_SERVE = (
    "my $asked = 0; $SIG{HUP} = sub { $asked = 1 }; $SIG{TERM} = sub { exit 0 }; {first}"
    "chroot('/srv/inner') or die \"chroot: $!\"; chdir('/');"
    "socket(my $s, 2, 1, 0); bind($s, pack('S n N x8', 2, 0, 0x7f000001)) or die; listen($s, 5);"
    "while (1) { select(undef, undef, undef, 0.1); if ($asked) { $asked = 0; {then} } }"
)


def _daemon(first: str, then: str) -> tuple[str, ...]:
    return (_PERL, "-e", _SERVE.replace("{first}", first).replace("{then}", then))


_READ = "open(my $f, '<', '/etc/app.conf') or warn \"Config reload failed: Unable to open '/etc/app.conf': $!\\n\";"
_RANDOM = "open(my $f, '<', '/dev/urandom') or warn \"no more TLS: no random numbers\\n\";"

CASES = (
    Case("D8", _without("/srv/inner/dev/urandom", _inner("/usr/bin/head")), _in("/usr/bin/head", "-c", "1", "/dev/urandom"),
         "/srv/inner/dev/urandom", _NOT_THERE, "device"),
    Case("P4, the shell is not there", _inner(), _in("/bin/bash", "-c", "echo hi"), "/srv/inner/bin/bash", _NOT_THERE, "program",
         healthy="hi"),
    Case("P4, its loader is not", _without("/srv/inner/lib64", _inner("/usr/bin/bash")), _in("/bin/bash", "-c", "echo hi"),
         "/srv/inner/lib64", _NOT_THERE, "loader-link", healthy="hi"),
    Case("a root within is closed", _closed, (_CHROOT, "--userspec=1:1", _INNER, _CAT, "/dev/null"), "/srv/inner",
         "Permission denied", "closed-program", more=True),
    Case("C6, cat for a daemon", _both(_BUNDLE, _inner(_CAT)), _in(_CAT, _BUNDLE), f"{_INNER}{_BUNDLE}", _NOT_THERE,
         healthy="BEGIN CERTIFICATE"),
    Case("N8, getent for smtp", _both("/etc/resolv.conf", _inner("/usr/bin/getent", etc=("nsswitch.conf", "hosts", "host.conf"))),
         _in("/usr/bin/getent", "ahosts", "example.org"), "/srv/inner/etc/resolv.conf", "", "resolution", more=True,
         seen=":53"),
    Case("T1, after its own chroot", _both("/etc/localtime", _inner("/usr/bin/date")), _in("/usr/bin/date"),
         "/srv/inner/etc/localtime", "UTC", status=0),
    Case("L3, perl for a daemon", _own_conf, _daemon(_READ, _READ), "/srv/inner/etc/app.conf", "", "outside-only",
         options=("--reload", "HUP"), told="Config reload failed", seen="/etc/app.conf"),
    Case("D7, perl for a daemon with TLS", _own_conf, _daemon(_RANDOM, _RANDOM), "/srv/inner/dev/urandom", "", "device",
         options=("--reload", "HUP"), told="no more TLS", status=0),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)
