"""doctor --pid: daemons that run already in a root directory of their own are looked at, and serve on."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.doctor.daemons import DAEMON, answer, causes, doctor, found, free_port, in_chroot, perl, running, web
from tests.doctor.jails import copy, digest, empty_jail, put, script
from tests.tool import tracejail, tracers, until


@pytest.mark.parametrize("words", (("--reload", "HUP"), (), ("--static",)), ids=("reload", "watched", "static"))
def test_an_include_directory_that_was_emptied(words: tuple[str, ...]) -> None:
    with web(site=True) as (jail, process, port):
        (jail / "etc/nginx/sites-enabled/default").unlink()
        before, host = digest(jail), digest(Path("/etc/nginx"))
        ask = ("--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/") if "--static" not in words else ()
        said = doctor(process, *words, *ask)
        assert said["findings"][0]["path"] == "/etc/nginx/sites-enabled"
        told = found(said, "empty-directory")
        assert told["confidence"] == "likely"
        listed = any("getdents64" in line for line in told["evidence"])
        assert listed == ("HUP" in words), told["evidence"]
        assert said["status"] == 1
        assert f"process {process} in {jail}" in said["ended"]
        assert answer(port) == "alive\n"
        assert tracers(process) == {"0"}
        assert (digest(jail), digest(Path("/etc/nginx"))) == (before, host)
        for command in told["remedy"]:
            subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
        assert (jail / "etc/nginx/sites-enabled/default").exists()
        assert not [each for each in doctor(process, *words)["findings"] if each["path"] == told["path"]]


def test_the_configuration_that_its_title_names() -> None:
    with web(False, "-c", "/srv/own.conf") as (_, process, _):
        told = found(doctor(process, "--static"), "empty-directory")
        assert told["path"] == "/etc/nginx/sites-enabled"
        assert told["evidence"][0].startswith("/srv/own.conf: include /etc/nginx/sites-enabled/*;")


def test_a_healthy_one() -> None:
    with web(site=True) as (_, process, port):
        ask = ("--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
        said = doctor(process, "--reload", "HUP", *ask)
        assert causes(said) == []
        assert said["status"] == 0
        assert said["notes"] == []
        told = tracejail("doctor", "--pid", str(process), "--timeout", "0.3", cwd=Path("/"))
        assert told.out.startswith("HEALTHY, AS FAR AS IT WAS HEARD: it runs still")


# --- the system log ------------------------------------------------------------------------------------------------

_TO_LOG = "sub plug { close S; socket(S, 1, 2, 0); connect(S, pack('S Z*', 1, '/dev/log')) } "
_LOST = {
    "it is silent": (_TO_LOG + "$n++ or plug();", ()),
    "it sends": (_TO_LOG + "$n++ or plug(); send(S, 'x', 0);", ("--exercise",)),
    "it connects anew": (_TO_LOG + "$n++ or plug(); send(S, 'x', 0) or plug();", ("--exercise",)),
    "it had noticed": (_TO_LOG + "plug();", ("--exercise",)),
}


@pytest.mark.parametrize("left", ("", "socket", "file"), ids=("removed", "left behind", "bound over"))
@pytest.mark.parametrize("name", _LOST)
def test_a_log_that_was_lost(name: str, left: str) -> None:
    does, words = _LOST[name]
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        service = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        service.bind(str(jail / "dev/log"))
        with perl(jail, does) as (process, port):
            assert answer(port) == "alive\n"   # it is connected
            service.close()
            if left != "socket":
                (jail / "dev/log").unlink()
            if left == "file":
                (jail / "dev/log").touch()
            before = digest(jail)
            ask = f"curl -sf --noproxy '*' http://127.0.0.1:{port}/"
            drive = [*words, f"{ask} && {ask}"] if words else []
            said = doctor(process, *drive)
            assert [each["path"] for each in causes(said)] == ["/dev/log"]
            assert said["findings"][0]["confidence"] == "likely"
            assert said["status"] == 1
            assert digest(jail) == before
            assert answer(port) == "alive\n"
            assert tracers(process) == {"0"}


def test_a_log_that_is_there() -> None:
    with empty_jail() as jail, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        put(jail, "/usr/bin/perl")
        service.bind(str(jail / "dev/log"))
        with perl(jail, _LOST["it sends"][0]) as (process, port):
            said = doctor(process, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            assert causes(said) == []
            assert service.recv(10, socket.MSG_DONTWAIT) == b"x"    # doctor has said nothing itself


_SYSLOG = """
#include <signal.h>
#include <syslog.h>
#include <unistd.h>
static void tell(int number) { (void) number; }
int main(void) {
    signal(SIGUSR1, tell);
    for (;;) { syslog(LOG_INFO, "hello"); pause(); }
}
"""


def test_the_c_library_s_syslog() -> None:
    with empty_jail() as jail:
        source = jail.parent / "tells.c"
        source.write_text(_SYSLOG)
        (jail / "dev").mkdir()
        subprocess.run(["gcc", "-static", "-o", jail / "tells", source], check=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
            service.bind(str(jail / "dev/log"))
            with in_chroot(jail, "/tells") as process:
                assert b"hello" in service.recv(1000)
                service.close()
                (jail / "dev/log").unlink()
                quiet = doctor(process, "--static")
                assert found(quiet, "log-socket")["confidence"] == "likely"
                said = doctor(process, "--exercise", f"kill -USR1 {process}")
                assert found(said, "log-socket")["path"] == "/dev/log"
                assert any("connect" in line for line in said["findings"][0]["evidence"])


# --- what it holds -------------------------------------------------------------------------------------------------


def test_what_it_holds_is_no_longer_there() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        (jail / "var/log").mkdir(parents=True)
        (jail / "dev/null").unlink()
        script(jail, "/dev/null", "", 0o666)
        does = "$n++ or do { open(G, '>>/var/log/app.log'); open(N, '>>/dev/null') };"
        with perl(jail, does) as (process, port):
            answer(port)
            assert found(doctor(process, "--static"), "device-is-file")["path"] == "/dev/null"
            (jail / "dev/null").unlink()
            os.mknod(jail / "dev/null", 0o020666, os.makedev(1, 3))
            (jail / "var/log/app.log").unlink()
            next(path for path in jail.glob("usr/lib/*/libcrypt.so.1*") if not path.is_symlink()).unlink()
            said = doctor(process, "--static")
            assert found(said, "holds-file")["path"] == "/dev/null"
            assert found(said, "deleted-log")["path"] == "/var/log/app.log"
            assert {each["confidence"] for each in said["findings"] if each["rule"] == "lost-file"} == {"likely"}
            shutil.copy("/usr/bin/perl", jail / "new")
            (jail / "new").rename(jail / "usr/bin/perl")
            assert found(doctor(process, "--static"), "replaced-file")["path"] == "/usr/bin/perl"
            assert answer(port) == "alive\n"


def test_its_root_is_gone() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with perl(jail, "stat('/etc/hosts')") as (process, port):
            shutil.rmtree(jail)
            said = doctor(process, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            assert said["findings"][0]["rule"] == "root-gone"
            assert said["status"] == 1


def test_one_that_went_into_its_root_by_itself() -> None:
    """Its program, its configuration and its log are outside."""
    with empty_jail() as jail:
        outside = jail.parent / "outside"
        (outside / "log").mkdir(parents=True)
        (outside / "conf").write_text("x\n")
        does = f"open(G, '>>{outside}/log/x'); chroot '{jail}'; chdir '/';"
        does += "$SIG{HUP} = sub { -e '/etc/hosts' }; sleep 1 while 1"
        with running("perl", "-e", does, f"{outside}/conf") as daemon:
            until(lambda: os.readlink(f"/proc/{daemon.pid}/root") == str(jail))
            said = doctor(daemon.pid, "--reload", "HUP")
            assert said["program"] == os.path.realpath("/usr/bin/perl")
            assert found(said, "log-outside")["path"] == f"{outside}/log"
            assert found(said, "configuration")["path"] == f"{outside}/conf"
            assert not [each for each in said["findings"] if each["rule"] in ("program", "lost-file")]
            assert any(each["path"] == "/etc/hosts" for each in said["findings"])


def test_another_user() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        script(jail, "/etc/list", "x\n", 0o600)
        does = "$n++ or ($) = '1 1', $> = 1); open(F, '/etc/list');"
        with perl(jail, does) as (process, port):
            said = doctor(process, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            told = found(said, "closed")
            assert told["path"] == "/etc/list"
            assert "user 1 " in told["message"]


def test_a_mount_beneath_its_root() -> None:
    """In a chroot a process sees the mounts beneath its root, and not that on which the root lies."""
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        (jail / "data").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", jail / "data"], check=True)
        with perl(jail, "open(F, '>/data/new')") as (process, port):
            told = found(doctor(process, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/"), "read-only")
            assert told["path"] == "/data"


def test_mounts_of_its_own() -> None:
    """A root that has no path here: by pivot_root(2), as that of a container."""
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        script(jail, "/daemon", DAEMON, 0o644)
        port = free_port()
        words = f"""
            mount --bind {jail} {jail}; cd {jail}; mkdir before; mount -t tmpfs -o noexec,size=1m none dev; pivot_root . before
            exec /usr/bin/perl /daemon {port} '-e "/etc/hosts"; open(N, "/dev/null")'
        """
        with running("unshare", "--mount", "--propagation", "private", "sh", "-ec", words) as daemon:
            until(lambda: answer(port) == "alive\n")
            said = doctor(daemon.pid, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            hosts = next(each for each in said["findings"] if each["path"] == "/etc/hosts")
            assert hosts["remedy"] == [f"cd / && cp -a --parents etc/hosts /proc/{daemon.pid}/root/"]
            null = found(said, "device")
            assert null["path"] == "/dev/null"
            for command in (*hosts["remedy"], *null["remedy"]):
                subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
            assert (jail / "etc/hosts").exists()
            assert not (jail / "dev/null").is_file()
            after = doctor(daemon.pid, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            assert not {"/etc/hosts", "/dev/null"} & {each["path"] for each in after["findings"]}


def test_mounts_over_the_host_s_root() -> None:
    lists = "while (1) { opendir(D, q(/etc/nginx)); 1 while readdir D; sleep 1 }"
    words = f"mount -t tmpfs -o size=1m none /etc/nginx; exec perl -e '{lists}'"
    with running("unshare", "--mount", "--propagation", "private", "sh", "-ec", words) as daemon:
        until(lambda: "perl" in os.readlink(f"/proc/{daemon.pid}/exe"))
        told = found(doctor(daemon.pid, seconds="2"), "empty-directory")
        assert told["path"] == "/etc/nginx"
        assert told["remedy"] == [f"cd / && cp -a --parents etc/nginx /proc/{daemon.pid}/root/"]


def test_threads() -> None:
    port = free_port()
    with empty_jail() as jail:
        put(jail, "/usr/bin/memcached")
        for path in ("/etc/passwd", "/etc/localtime", os.path.realpath("/etc/localtime")):
            copy(jail, path)
        script(jail, "/etc/nsswitch.conf", "passwd: files\n", 0o644)
        words = ("/usr/bin/memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-t", "4")
        with in_chroot(jail, *words) as process:
            until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True)
            assert len(list(Path(f"/proc/{process}/task").iterdir())) > 4
            ask = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'version\\r\\n' >&3; head -n 1 <&3 | grep VERSION"
            said = doctor(process, "--exercise", f"bash -c {shlex.quote(ask)}")
            assert causes(said) == []
            assert (said["status"], said["failure"], said["notes"]) == (0, "", [])
            assert tracers(process) == {"0"}
