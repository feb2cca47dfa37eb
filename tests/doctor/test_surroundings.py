"""What is around a program: devices, mounts, owners and modes, capabilities, filters, limits, directories, sockets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.doctor.jails import Case, by_chroot, check, copy, diagnosis, empty_jail, put, script

_DASH, _CAT, _PERL = "/usr/bin/dash", "/usr/bin/cat", "/usr/bin/perl"
_KILL, _SAY_EPERM = "0x80000000", "0x00050001"
# A filter for one call: prctl(PR_SET_NO_NEW_PRIVS), then prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, struct sock_fprog).
_FILTER = (
    "my $f = pack('SCCL' x 4, 0x20,0,0,0, 0x15,0,1,{call}, 6,0,0,{action}, 6,0,0,0x7fff0000);"
    "my $p = pack('S x6 P', 4, $f); syscall(157, 38, 1, 0, 0, 0); syscall(157, 22, 2, $p) == 0 or die 'no filter';"
    "mkdir('/made') or die \"made: $!\";"
)


def _filter(action: str) -> tuple[str, ...]:
    return ("/usr/bin/perl", "-e", _FILTER.replace("{call}", "83").replace("{action}", action))


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
    put(jail, _CAT)
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


CASES = (
    Case("D1", _without("/dev/null", _DASH), _dash("read x < /dev/null; exit $(($? - 1))"), "/dev/null", "", "device",
         options=("--expect", "1")),
    Case("D1, it dies", _without("/dev/zero", _CAT), ("/bin/cat", "/dev/zero"), "/dev/zero", "No such file", "device",
         cured=False),
    Case("D3", _null_is_a_file, _dash("echo hi > /dev/null"), "/dev/null", "", "device-is-file"),
    Case("D3, made", _without("/dev/null", _DASH), _dash("echo hi > /dev/null"), "/dev/null", "", "device-made-file"),
    Case("D13", _jail("/usr/bin/bash", _CAT), ("/bin/bash", "-c", "cat <(echo hi)"), "/dev/fd", "No such file", "device-link",
         cured=False),
    Case("D15", _jail(_CAT), ("/bin/cat", "/proc/meminfo"), "/proc", "No such file", "proc", cured=False),
    Case("D16", _jail(_DASH), _dash("echo x > /tmp/x"), "/tmp", "nonexistent", "temporary"),
    Case("D16, its mode", _tmp_not_for_all, _dash("echo x > /tmp/x"), "/tmp", "", "temporary", options=("-u", "daemon")),
    Case("E15", _noexec, _dash("/opt/cat /dev/null"), "/opt", "Permission denied", "noexec", cured=False),
    Case("nodev", _nodev, ("/bin/cat", "/dev/zero"), "/dev", "Permission denied", "nodev", cured=False),
    Case("read-only", _read_only, _dash("echo x > /var/data/x"), "/var/data", "Read-only", "read-only", cured=False),
    Case("R1", _file_of_root, ("/bin/cat", "/srv/key"), "/srv/key", "", "closed", options=("-u", "daemon")),
    Case("R2", _closed_above, ("/bin/cat", "/srv/inner/list"), "/srv/inner", "", "closed", options=("-u", "daemon")),
    Case("the root is closed", _closed_root, ("/bin/cat", "/dev/null"), "/", "", "", options=("-u", "daemon")),
    Case("the root is written to", _jail(_DASH), _dash("echo x > /made"), "/", "", "closed", options=("-u", "daemon"),
         cured=False),
    Case("R3", _jail(_PERL), _perl(_TO_PORT), "/usr/bin/perl", "", "capability", options=("-u", "daemon"), cured=False),
    Case("R6", _jail(_PERL), _filter(_KILL), "/usr/bin/perl", "", "filter-kills", cured=False),
    Case("R7", _jail(_PERL), _filter(_SAY_EPERM), "/usr/bin/perl", "not permitted", "filtered", cured=False),
    Case("R9, files", _jail(_DASH, _CAT), _dash("ulimit -n 3; exec cat /dev/null"), "/usr/bin/cat", "Error 24",
         "limit", cured=False),
    Case("R9, size", _jail(_DASH, _CAT), _dash("ulimit -f 1; cat /usr/bin/cat > /big"), "/usr/bin/cat", "", "limit",
         cured=False),
    Case("R9, memory", _jail(_DASH, _PERL), _dash("ulimit -v 60000; exec perl -e '$x = \"x\" x 200000000'"), "/usr/bin/perl",
         "", "limit", cured=False),
    Case("R9, processes", _jail(_DASH, _CAT), _dash("ulimit -p 0; cat /dev/null; true"), "/usr/bin/dash", "", "limit",
         options=("-u", "daemon"), cured=False),
    Case("P1", _jail(_DASH), _dash("test -d /run/appd || { echo 'Missing directory: /run/appd' >&2; exit 255; }"), "/run/appd",
         "Missing directory", "wanted-directory"),
    Case("P6", _writable, _dash(
        "echo 'bad ownership or modes of /etc/app/conf' >&2; test -r /etc/app/conf && exit 1"), "/etc/app", "bad ownership",
         "standing"),
    Case("P7", _jail(_DASH), _dash("echo hi > /var/log/app.log"), "/var/log", "nonexistent", "parent"),
    Case("P12", _empty_directory, _perl("opendir(D, '/etc/apt/apt.conf.d') or die; print readdir D"), "/etc/apt/apt.conf.d", "",
         "empty-directory"),
    Case("P13", _jail(_PERL), _perl("opendir(D, '/etc/apt/apt.conf.d'); print 'ok'"), "/etc/apt/apt.conf.d", "ok",
         "include-directory"),
    Case("G1", _logger, ("/usr/bin/logger", "-p", "user.info", "lost"), "/dev/log", "", "log-socket", status=0,
         cured=False),
    Case("mode of a device", _closed_null, _dash("echo hi > /dev/null"), "/dev/null", "", "closed", options=("-u", "daemon")),
    Case("a device of other numbers", _other_numbers, _dash("echo x > /dev/null"), "/dev/null", "", "other-device"),
    Case("a library on noexec", _library_on_noexec, ("/bin/cat", "/dev/null"), "/opt/lib", "", "noexec",
         options=("-E", "LD_LIBRARY_PATH=/opt/lib"), cured=False),
    Case("N14", _stale, _perl(_TO_SOCKET.replace("{path}", "/run/db.sock")), "/run/db.sock", "refused", "stale-socket",
         cured=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    with empty_jail() as jail:
        check(jail, case)


def test_a_mount_cures() -> None:
    """The remedy of D13, done: check() can't look at a jail that shows the processes of now."""
    case = Case("D13", _jail("/usr/bin/bash", _CAT), ("/bin/bash", "-c", "cat <(echo hi)"), "/dev/fd")
    with empty_jail() as jail:
        case.build(jail)
        for command in diagnosis(jail, case)["findings"][0]["remedy"]:
            subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
        assert by_chroot(jail, case.command).out == "hi\n"


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
