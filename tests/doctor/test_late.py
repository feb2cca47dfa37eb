"""What fails after a while: at a reload, after the change of user, when somebody looks for it; and what is logged nowhere."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.doctor.jails import LOG_DAEMON, Case, check, compiled, copy, diagnosis, empty_jail, put, script

_PERL, _LOGGER, _HAPROXY, _NAMED = "/usr/bin/perl", "/usr/bin/logger", "/usr/sbin/haproxy", "/usr/sbin/named"
_BACKTRACE = """
#include <execinfo.h>
#include <stdio.h>
int main(void) { void *at[8]; printf("%d calls\\n", backtrace(at, 8) > 0); return 0; }
"""
_DAEMON = """
#include <stdio.h>
#include <unistd.h>
#include <stdlib.h>
#include <sys/wait.h>
int main(void) {
    int status;
    if (fork() == 0) { if (daemon(0, 0)) { perror("daemon"); _exit(1); } _exit(0); }
    wait(&status);
    sleep(1);
    return 0;
}
"""
_ROTATES = (
    "my $asked = 0; $SIG{HUP} = sub { $asked = 1 }; $SIG{TERM} = sub { exit 0 };"
    "open(my $log, '>>', '/var/log/transfers') or die \"log: $!\";"
    "socket(my $s, 2, 1, 0); bind($s, pack('S n N x8', 2, 0, 0x7f000001)) or die; listen($s, 5); {become}"
    "while (1) { select(undef, undef, undef, 0.1); if ($asked) {"
    " $asked = 0; unlink('/var/log/transfers'); open($log, '>>', '/var/log/transfers'); } }"
)
_BECOMES = "$) = '1 1'; $( = 1; $> = 1; $< = 1;"
_TO_LOG = "    log {place} local0\n"
_CONFIGURATION = (
    "global\n{log}{more}defaults\n    mode http\n    log global\n    timeout connect 1s\n    timeout client 1s\n"
    "    timeout server 1s\nfrontend f\n    bind 127.0.0.1:8080\n    http-request return status 200\n    option httplog\n"
)
_SERVES = (_HAPROXY, "-db", "-f", "/etc/haproxy/haproxy.cfg")
_ASKS = ("--exercise", "curl -sf http://127.0.0.1:8080/")


def _logger(jail: Path) -> None:
    put(jail, _LOGGER)
    (jail / "etc").mkdir()
    for name in ("passwd", "nsswitch.conf", "localtime"):
        copy(jail, f"/etc/{name}")
    copy(jail, os.path.realpath("/etc/localtime"))


def _stale_log(jail: Path) -> None:
    """A socket that was bound into the jail, of a log daemon that has been started anew since."""
    _logger(jail)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(jail / "dev/log"))


def _with_log(owner: int, mode: int) -> object:
    def build(jail: Path) -> None:
        put(jail, _PERL)
        (jail / "var/log").mkdir(parents=True)
        (jail / "var/log").chmod(mode)
        os.chown(jail / "var/log", owner, 0)

    return build


def _own_root(jail: Path) -> None:
    _with_log(0, 0o755)(jail)   # type: ignore[operator]
    (jail / "srv/inner").mkdir(parents=True)


def _balancer(place: str, more: str = "") -> object:
    def build(jail: Path) -> None:
        put(jail, _HAPROXY)
        for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/localtime", "/usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf"):
            copy(jail, path)
            copy(jail, os.path.realpath(path))
        shutil.copytree("/etc/ssl/certs", jail / "etc/ssl/certs", symlinks=False)
        copy(jail, "/usr/lib/ssl/certs")
        text = _CONFIGURATION.replace("{log}", _TO_LOG.replace("{place}", place)).replace("{more}", more)
        script(jail, "/etc/haproxy/haproxy.cfg", text, 0o644)

    return build


def _closed_log(jail: Path) -> None:
    _balancer("/srv/log/socket", "    uid 1\n    gid 1\n")(jail)   # type: ignore[operator]
    (jail / "srv/log").mkdir(parents=True)
    (jail / "srv/log").chmod(0o700)


def _name_server(jail: Path) -> None:
    put(jail, _NAMED)
    (jail / "etc").mkdir()
    for name in ("passwd", "group", "nsswitch.conf", "protocols", "services", "localtime"):
        copy(jail, f"/etc/{name}")
    copy(jail, os.path.realpath("/etc/localtime"))
    for path in ("var/cache/bind", "run/named"):
        (jail / path).mkdir(parents=True)


CASES = (
    Case("D2", lambda jail: (compiled("/usr/bin/prog", _DAEMON)(jail), (jail / "dev/null").unlink()), ("/usr/bin/prog",),
         "/dev/null", "daemon: ", "device"),
    Case("L2", compiled("/usr/bin/prog", _BACKTRACE), ("/usr/bin/prog",), "/lib/x86_64-linux-gnu/libgcc_s.so.1", "0 calls",
         "library", healthy="1 calls"),
    Case("L4, it may not write there", _with_log(0, 0o755),
         (_PERL, "-e", _ROTATES.replace("{become}", "chown(1, 1, '/var/log/transfers');" + _BECOMES)), "/var/log", "", "closed",
         options=("--reload", "HUP"), seen="EACCES"),
    Case("L4, its directory is not there", _own_root, (_PERL, "-e", _ROTATES.replace("{become}", "chroot('/srv/inner');")),
         "/srv/inner/var/log", "", "parent", options=("--reload", "HUP"), seen="ENOENT"),
    Case("L5", _stale_log, (_LOGGER, "-p", "user.info", "lost"), "/dev/log", "", "stale-socket", seen="ECONNREFUSED",
         by_hand=LOG_DAEMON),
    Case("G2", _name_server, (_NAMED, "-f"), "/etc/bind/named.conf", "", more=True, seen="ENOENT"),
    Case("G3", _balancer("/dev/log"), _SERVES, "/dev/log", "", "log-socket", options=_ASKS, by_hand=LOG_DAEMON,
         seen="ENOENT", status=0),
    Case("G4", _closed_log, _SERVES, "/srv/log", "", "closed", options=_ASKS, told="Permission denied"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)


def test_who_listens_in_the_jail_is_heard() -> None:
    """A socket of the jail's own tree with somebody behind it: through an overlay nobody would be."""
    case = Case("", _logger, (_LOGGER, "-p", "user.info", "kept"), "")
    with empty_jail() as jail:
        case.build(jail)
        for command in LOG_DAEMON:
            subprocess.run(["sh", "-ec", command.replace("{jail}", str(jail))], check=True)
        assert diagnosis(jail, case)["status"] == 0
