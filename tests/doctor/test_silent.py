"""Names, times, random numbers and trust: half of it ends in nothing that is said."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.jails import Case, check, compiled, copy, empty_jail, learned, names, put, script

_PERL, _PHP, _PYTHON, _GETENT = "/usr/bin/perl", "/usr/bin/php", "/usr/bin/python3", "/usr/bin/getent"
_ICONV = """
#include <iconv.h>
#include <stdio.h>
int main(void) {
    iconv_t found = iconv_open("UTF-8", "ISO-8859-15");
    if (found == (iconv_t)-1) { fputs("conversion not supported\\n", stderr); return 1; }
    return 0;
}
"""
_FETCH = (_PHP, "-n", "-r", "fsockopen('example.org', 80) or exit(1);")
_ZONES = (_PYTHON, "-I", "-c", "import zoneinfo; print(zoneinfo.ZoneInfo('Europe/Paris'))")
# What goes wrong is to be said in the jail, too.
_NO_ZONE = (_PYTHON, "-I", "-c", (
    "import traceback, zoneinfo; zoneinfo.ZoneInfo('Europe/Paris')\n"
    "try: zoneinfo.ZoneInfo('No/Such')\nexcept Exception: traceback.print_exc()"
))
_TYPES = (_PYTHON, "-I", "-c", "import mimetypes; print(mimetypes.guess_type('a.docx')[0])")
_ANCHORS = (_PYTHON, "-I", "-c", (
    "import os; os.environ.pop('SSL_CERT_FILE', ''); os.environ.pop('SSL_CERT_DIR', ''); import ssl;"
    "print('anchors:', len(ssl.create_default_context().get_ca_certs()))"
))
_FONT = ("/usr/bin/fc-match", "sans")
# A name server that answers each question with 192.0.2.1, and one that asks it without knowing.
_UNINTENDED = (
    "socket(S, 2, 2, 0); bind(S, pack('S n N x8', 2, 53, 0x7f000001)) or die; my $child = fork();"
    "if (!$child) { while (my $from = recv(S, my $q, 512, 0)) {"
    " my ($id, $f, $n) = unpack('n3', $q); my $name = substr($q, 12); my $end = index($name, \"\\0\") + 5;"
    " my $type = unpack('n', substr($name, $end - 4, 2)); my $has = $type == 1;"
    " send(S, pack('n6', $id, 0x8180, 1, $has ? 1 : 0, 0, 0) . substr($name, 0, $end)"
    " . ($has ? pack('n3 N n C4', 0xc00c, 1, 1, 60, 4, 192, 0, 2, 1) : ''), 0, $from) } exit }"
    "my @h = gethostbyname('db.example.org'); print join('.', unpack('C4', $h[4])); kill 9, $child; waitpid($child, 0);"
)
_ENTROPY = ("/usr/bin/shuf", "-i", "1-9", "-n", "1", "--random-source=/dev/random")


def _without(path: str, build: Callable[[Path], None]) -> Callable[[Path], None]:
    def made(jail: Path) -> None:
        build(jail)
        (jail / path.lstrip("/")).unlink()

    return made


def _nodev(jail: Path) -> None:
    put(jail, "/usr/bin/shuf")
    (jail / "dev/random").unlink()
    (jail / "dev/urandom").unlink()
    for name in ("null", "zero"):
        (jail / "dev" / name).unlink()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nodev,mode=755,size=1m", "tmpfs", jail / "dev"], check=True)
    subprocess.run(["mknod", "-m", "666", jail / "dev/random", "c", "1", "8"], check=True)


def _asks_nobody(jail: Path) -> None:
    names(_GETENT, etc=("hosts", "host.conf", "resolv.conf"))(jail)
    script(jail, "/etc/nsswitch.conf", "hosts: resolve [!UNAVAIL=return]\n", 0o644)


def _no_anchors(jail: Path) -> None:
    learned(*_ANCHORS, gone=())(jail)
    bundle = jail / "etc/ssl/certs/ca-certificates.crt"
    bundle.unlink(missing_ok=True)
    script(jail, "/etc/ssl/certs/ca-certificates.crt", "# none\n", 0o644)


def _tmpfiles(jail: Path) -> None:
    put(jail, "/usr/bin/systemd-tmpfiles")
    script(jail, "/etc/tmpfiles.d/x.conf", "z /var/log/journal 2750 root root -\n", 0o644)
    for path in ("var/log/journal", "etc/dummy"):
        (jail / path).mkdir(parents=True)
    for name in ("passwd", "group"):
        copy(jail, f"/etc/{name}")


CASES = (
    Case("N5", compiled("/usr/bin/prog", _ICONV, "-static"), ("/usr/bin/prog",), "/usr/lib/x86_64-linux-gnu/gconv",
         "not supported", "conversions", more=True),
    Case("N6", _without("/etc/resolv.conf", names(_PHP, etc=("nsswitch.conf", "hosts", "host.conf", "resolv.conf"))), _FETCH,
         "/etc/resolv.conf", "Temporary failure in name resolution", "resolution", more=True),
    Case("N7", names(_PERL, etc=("nsswitch.conf", "hosts", "host.conf")), (_PERL, "-e", _UNINTENDED), "/etc/resolv.conf", "",
         "resolution", told="192.0.2.1", more=True),
    Case("N11", _asks_nobody, (_GETENT, "ahosts", "localhost"), "/etc/nsswitch.conf", "", "name-service", more=True,
         seen="libnss_resolve", healthy="127.0.0.1"),
    Case("T5", learned(*_NO_ZONE, gone="/usr/share/zoneinfo"), _ZONES, "/usr/share/zoneinfo/Europe/Paris",
         "ZoneInfoNotFoundError", more=True),
    Case("T10", learned(*_TYPES, gone="/etc/mime.types"), _TYPES, "/etc/mime.types", "None", healthy="officedocument"),
    Case("T11, fc-match for java", learned(*_FONT, gone="/etc/fonts"), _FONT, "/etc/fonts/fonts.conf", "Fontconfig error"),
    Case("C3", learned(*_ANCHORS, gone="/usr/lib/ssl/cert.pem"), _ANCHORS, "/usr/lib/ssl/cert.pem", "anchors: 0"),
    Case("C3, a bundle without certificates", _no_anchors, _ANCHORS, "/usr/lib/ssl/cert.pem", "anchors: 0", "hollow"),
    Case("D5, shuf for named", _nodev, _ENTROPY, "/dev", "Permission denied", "nodev",
         by_hand=("mount -o remount,dev {jail}/dev",)),
    Case("D6, shuf for named", _without("/dev/random", lambda jail: put(jail, "/usr/bin/shuf")), _ENTROPY, "/dev/random",
         "No such file", "device"),
    Case("D11, script for sshd", lambda jail: put(jail, "/usr/bin/script", "/usr/bin/dash"),
         ("/usr/bin/script", "-q", "-c", "true", "/dev/null"), "/dev/ptmx", "failed to create pseudo-terminal", "device",
         more=True),
    Case("D14", _tmpfiles, ("/usr/bin/systemd-tmpfiles", "--create", "x.conf"), "/proc", "Please mount /proc", "proc", more=True),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)
