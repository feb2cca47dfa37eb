"""What is around a program: devices, mounts, owners and modes, capabilities, filters, limits, directories, sockets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.doctor.jails import LISTEN, LOG_DAEMON, Case, check, copy, diagnosis, empty_jail, put, script

_DASH, _CAT, _PERL, _HEAD = "/usr/bin/dash", "/usr/bin/cat", "/usr/bin/perl", "/usr/bin/head"
_KILL, _SAY_EPERM = "0x80000000", "0x00050001"
# A filter for one call: prctl(PR_SET_NO_NEW_PRIVS), then prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, struct sock_fprog).
_FILTER = (
    "my $f = pack('SCCL' x 4, 0x20,0,0,0, 0x15,0,1,{call}, 6,0,0,{action}, 6,0,0,0x7fff0000);"
    "my $p = pack('S x6 P', 4, $f); syscall(157, 38, 1, 0, 0, 0); syscall(157, 22, 2, $p) == 0 or die 'no filter';"
)
_MAKES = "mkdir('/made') or die \"made: $!\";"


def _filter(action: str) -> tuple[str, ...]:
    return ("/usr/bin/perl", "-e", _FILTER.replace("{call}", "83").replace("{action}", action) + _MAKES)


def _jail(*programs: str) -> object:
    return lambda jail: put(jail, *programs)


def _without(path: str, *programs: str) -> object:
    def build(jail: Path) -> None:
        put(jail, *programs)
        (jail / path.lstrip("/")).unlink()

    return build


def _null_is_a_file(jail: Path) -> None:
    put(jail, _DASH)
    (jail / "dev/null").unlink()
    script(jail, "/dev/null", "kept\n", 0o666)


def _noexec(jail: Path) -> None:
    put(jail, _DASH, _CAT)
    _tmpfs(jail / "opt", "noexec")
    shutil.copy2(_CAT, jail / "opt/cat")


def _tmpfs(place: Path, options: str) -> None:
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{options},mode=755,size=8m", "tmpfs", place], check=True)


def _nodev(jail: Path) -> None:
    put(jail, _HEAD)
    shutil.rmtree(jail / "dev")
    _tmpfs(jail / "dev", "nodev")
    os.mknod(jail / "dev/zero", 0o666 | 0o020000, os.makedev(1, 5))


def _read_only(jail: Path) -> None:
    put(jail, _DASH)
    _tmpfs(jail / "var/data", "rw")
    subprocess.run(["mount", "-o", "remount,ro", jail / "var/data"], check=True)


def _file_of_root(jail: Path) -> None:
    put(jail, _CAT)
    script(jail, "/srv/key", "secret\n", 0o600)


def _closed_above(jail: Path) -> None:
    put(jail, _CAT)
    script(jail, "/srv/inner/list", "listed\n", 0o644)
    (jail / "srv/inner").chmod(0o750)


def _closed_root(jail: Path) -> None:
    put(jail, _CAT)
    jail.chmod(0o700)


def _tmp_not_for_all(jail: Path) -> None:
    put(jail, _DASH)
    (jail / "tmp").mkdir(mode=0o755)


def _empty_directory(jail: Path) -> None:
    put(jail, _PERL)
    (jail / "etc/apt/apt.conf.d").mkdir(parents=True)


def _stale(jail: Path) -> None:
    put(jail, _PERL)
    (jail / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(jail / "run/db.sock"))


def _closed_null(jail: Path) -> None:
    put(jail, _DASH)
    (jail / "dev/null").chmod(0o600)


def _other_numbers(jail: Path) -> None:
    put(jail, _DASH)
    (jail / "dev/null").unlink()
    os.mknod(jail / "dev/null", 0o666 | 0o020000, os.makedev(1, 5))


def _library_on_noexec(jail: Path) -> None:
    put(jail, _CAT)
    libraries = next(jail.glob("usr/lib/*/libc.so.6"))
    _tmpfs(jail / "opt/lib", "noexec")
    shutil.move(libraries, jail / "opt/lib/libc.so.6")


def _writable(jail: Path) -> None:
    put(jail, _DASH)
    script(jail, "/etc/app/conf", "x\n", 0o644)
    (jail / "etc/app").chmod(0o777)


def _perl(text: str) -> tuple[str, ...]:
    return ("/usr/bin/perl", "-e", text)


def _dash(text: str) -> tuple[str, ...]:
    return ("/bin/dash", "-c", text)


_TO_SOCKET = (
    "socket(S, 1, 1, 0) or die; connect(S, pack('S Z*', 1, '{path}')) or die \"{path}: $!\\n\";"
)
_TO_PORT = "socket(S, 2, 1, 0) or die; bind(S, pack('S n N x8', 2, 80, 0)) or die \"bind: $!\\n\";"

def _logger(jail: Path) -> None:
    put(jail, "/usr/bin/logger")
    (jail / "etc").mkdir()
    for name in ("passwd", "nsswitch.conf", "localtime"):
        copy(jail, f"/etc/{name}")
    copy(jail, os.path.realpath("/etc/localtime"))


def _immutable(jail: Path) -> None:
    put(jail, _DASH)
    script(jail, "/kept", "kept\n", 0o644)
    (jail / "closed").mkdir()
    for name in ("kept", "closed"):
        subprocess.run(["chattr", "+i", jail / name], check=True)


CASES = (
    Case("immutable", _immutable, _dash("echo x > /kept"), "/kept", "not permitted", "unchangeable"),
    Case("an immutable directory", _immutable, _dash("echo x > /closed/new"), "/closed", "not permitted", "unchangeable"),
    Case("D1", _without("/dev/null", _DASH), _dash("read x < /dev/null; exit $(($? - 1))"), "/dev/null", "cannot open",
         "device", options=("--expect", "1"), started=()),
    Case("D1, it dies", _without("/dev/random", _HEAD), (_HEAD, "-c", "1", "/dev/random"), "/dev/random", "No such file",
         "device"),
    Case("D3", _null_is_a_file, _dash("echo hi > /dev/null"), "/dev/null", "", "device-is-file", seen="0666"),
    Case("D3, made", _without("/dev/null", _DASH), _dash("echo hi > /dev/null"), "/dev/null", "", "device-made-file",
         seen="O_CREAT"),
    Case("D13", _jail("/usr/bin/bash", _CAT), ("/bin/bash", "-c", "cat <(echo hi)"), "/dev/fd", "No such file", "device-link",
         healthy="hi"),
    Case("D15", _jail(_CAT), ("/bin/cat", "/proc/meminfo"), "/proc", "No such file", "proc", healthy="MemTotal"),
    Case("D16", _jail(_DASH), _dash("echo x > /tmp/x"), "/tmp", "nonexistent", "temporary"),
    Case("D16, its mode", _tmp_not_for_all, _dash("echo x > /tmp/x"), "/tmp", "Permission denied", "temporary",
         options=("-u", "daemon")),
    Case("E15", _noexec, _dash("/opt/cat /dev/null"), "/opt", "Permission denied", "noexec",
         by_hand=("mount -o remount,exec {jail}/opt",)),
    Case("nodev", _nodev, ("/usr/bin/head", "-c", "1", "/dev/zero"), "/dev", "Permission denied", "nodev",
         by_hand=("mount -o remount,dev {jail}/dev",)),
    Case("read-only", _read_only, _dash("echo x > /var/data/x"), "/var/data", "Read-only", "read-only",
         by_hand=("mount -o remount,rw {jail}/var/data",)),
    Case("R1", _file_of_root, ("/bin/cat", "/srv/key"), "/srv/key", "Permission denied", "closed", options=("-u", "daemon")),
    Case("R2", _closed_above, ("/bin/cat", "/srv/inner/list"), "/srv/inner", "Permission denied", "closed",
         options=("-u", "daemon")),
    Case("R3", _jail(_PERL), _perl(_TO_PORT), "/usr/bin/perl", "bind: Permission denied", "capability", options=("-u", "daemon"),
         instead=_perl(_TO_PORT), started=()),
    Case("R6", _jail(_PERL), _filter(_KILL), "/usr/bin/perl", "", "filter-kills", seen="SIGSYS",
         instead=_perl(_MAKES)),
    Case("R7", _jail(_PERL), _filter(_SAY_EPERM), "/usr/bin/perl", "not permitted", "filtered",
         instead=_perl(_MAKES)),
    Case("the root is written to", _jail(_DASH), _dash("echo x > /made"), "/", "Permission denied", "closed",
         options=("-u", "daemon"), instead=_dash("echo x > /tmp/made; true"), more=True),
    Case("R9, files", _jail(_DASH, _CAT), _dash("ulimit -n 3; exec cat /dev/null"), "/usr/bin/cat", "Error 24",
         "limit", instead=_dash("exec cat /dev/null")),
    Case("R9, size", _jail(_DASH, _CAT), _dash("ulimit -f 1; cat /usr/bin/cat > /big"), "/usr/bin/cat", "File size limit",
         "limit", instead=_dash("cat /usr/bin/cat > /big")),
    Case("R9, memory", _jail(_DASH, _PERL), _dash("ulimit -v 60000; exec perl -e '$x = \"x\" x 200000000'"), "/usr/bin/perl",
         "Out of memory", "limit", instead=_perl("$x = 'x' x 200000000")),
    Case("R9, processes", _jail(_DASH, _CAT), _dash("ulimit -p 0; cat /dev/null; true"), "/usr/bin/dash", "Cannot fork", "limit",
         options=("-u", "daemon"), instead=_dash("cat /dev/null; true")),
    Case("P1", _jail(_DASH), _dash("test -d /run/appd || { echo 'Missing directory: /run/appd' >&2; exit 255; }"), "/run/appd",
         "Missing directory", "wanted-directory"),
    Case("P6", _writable, _dash(
        "echo 'bad ownership or modes of /etc/app/conf' >&2; test -r /etc/app/conf && exit 1"), "/etc/app", "bad ownership",
         "standing", more=True),
    Case("P7", _jail(_DASH), _dash("echo hi > /var/log/app.log"), "/var/log", "nonexistent", "parent"),
    Case("P12", _empty_directory, _perl("opendir(D, '/etc/apt/apt.conf.d') or die; print readdir D"), "/etc/apt/apt.conf.d", "",
         "empty-directory", seen="getdents64"),
    Case("P13", _jail(_PERL), _perl("opendir(D, '/etc/apt/apt.conf.d'); print 'ok'"), "/etc/apt/apt.conf.d", "ok",
         "include-directory"),
    Case("G1", _logger, ("/usr/bin/logger", "-p", "user.info", "lost"), "/dev/log", "", "log-socket", status=0, seen="ENOENT",
         by_hand=LOG_DAEMON),
    Case("mode of a device", _closed_null, _dash("echo hi > /dev/null"), "/dev/null", "Permission denied", "closed",
         options=("-u", "daemon")),
    Case("a device of other numbers", _other_numbers, _dash("echo x > /dev/null"), "/dev/null", "", "other-device",
         seen="1:5"),
    Case("E14", _library_on_noexec, ("/bin/cat", "/dev/null"), "/opt/lib", "failed to map segment", "noexec",
         options=("-E", "LD_LIBRARY_PATH=/opt/lib"),
         by_hand=("mount -o remount,exec {jail}/opt/lib",)),
    Case("N14", _stale, _perl(_TO_SOCKET.replace("{path}", "/run/db.sock")), "/run/db.sock", "refused", "stale-socket",
         by_hand=(LISTEN.replace("{kind}", "UNIX-LISTEN").replace("{path}", "{jail}/run/db.sock,fork"),)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)


@pytest.mark.parametrize("kind", ["proc", "sys", "devpts"])
def test_a_mount_that_is_asked_for_has_a_place(kind: str) -> None:
    case = Case(kind, _jail(_CAT), (_CAT, "/dev/null"), "", options=("--mount", kind))
    with empty_jail() as jail:
        case.build(jail)
        assert diagnosis(jail, case)["status"] == 0


@pytest.mark.parametrize(("path", "rule"), [("/dev/log", "log-socket"), ("/run/db.sock", "socket")])
def test_socket_of_the_host(path: str, rule: str) -> None:
    case = Case(rule, _jail(_PERL), _perl(_TO_SOCKET.replace("{path}", path)), path)
    with empty_jail() as jail, empty_jail() as host, socket.socket(socket.AF_UNIX) as service:
        case.build(jail)
        place = host / path.lstrip("/")
        place.parent.mkdir()
        service.bind(str(place))
        said = diagnosis(jail, case, "--from", str(host))
        assert [(each["rule"], each["path"]) for each in said["findings"]][:1] == [(rule, path)], said["findings"]
        assert said["findings"][0]["confidence"] == "likely"
        assert said["status"] == 1


HEALTHY = (
    Case("a shell", _jail(_DASH), _dash("echo hi"), ""),
    Case("another", _jail("/usr/bin/bash"), ("/bin/bash", "-c", "echo hi"), ""),
    Case("a program that reads a file", _jail(_CAT), ("/bin/cat", "/dev/null"), ""),
    Case("what the host lacks too", _jail(_PERL), _perl("open(F, '/proc/no/such'); opendir(D, '/etc/nosuch.d'); print 1"), ""),
)


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_healthy(case: Case) -> None:
    with empty_jail() as jail:
        case.build(jail)
        said = diagnosis(jail, case)
        assert said["status"] == 0, said["findings"]
