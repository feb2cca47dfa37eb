"""doctor --pid: daemons that run already in a root directory of their own are looked at, and serve on."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.jails import copy, digest, empty_jail, put, script
from tests.tool import COMMAND, Done, tracejail, two_lines

_PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
_HERE = {**os.environ, "LC_ALL": "C"}
# Answers each connection, and does then what its argument says; at SIGHUP as well.
_DAEMON = """
my ($port, $does) = @ARGV;
socket(L, 2, 1, 0) or die; setsockopt(L, 1, 2, 1);
bind(L, pack('S n N x8', 2, $port, 0x7f000001)) or die "bind: $!";
listen(L, 5);
my $act = eval "sub { $does }" or die $@;
$SIG{HUP} = $act;
while (1) {
    accept(C, L) or next;
    sysread(C, my $asked, 4096); $act->();
    syswrite(C, "HTTP/1.0 200 OK\\r\\n\\r\\nalive\\n"); close C;
}
"""


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def _answer(port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return str(answer.read().decode())


def _until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def _tracers(process: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{process}/task").glob("*/status"):
        found |= set(re.findall(r"^TracerPid:\s*(\d+)", path.read_text(), re.MULTILINE))
    return found


@contextlib.contextmanager
def _running(*words: str | Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    daemon = subprocess.Popen(
        list(map(str, words)), env=_PLAIN, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, **more,
    )
    try:
        yield daemon
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait(20)


@contextlib.contextmanager
def _in_chroot(jail: Path, *words: str | Path) -> Iterator[int]:
    with _running("chroot", jail, *words) as daemon:
        _until(lambda: os.readlink(f"/proc/{daemon.pid}/root") == str(jail) or daemon.poll())
        assert daemon.poll() is None
        yield daemon.pid


@contextlib.contextmanager
def _perl(jail: Path, does: str = "", port: int = 0) -> Iterator[tuple[int, int]]:
    """The daemon of above, in a jail; its process and port."""
    port = port or _free_port()
    script(jail, "/daemon", _DAEMON, 0o644)
    with _in_chroot(jail, "/usr/bin/perl", "/daemon", str(port), does) as process:
        _until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True)
        yield process, port


def _doctor(process: int, *words: str, seconds: str = "1.5") -> dict[str, Any]:
    timed = () if "--static" in words else ("--timeout", seconds)
    done = tracejail("doctor", "--pid", str(process), "--json", *timed, *words, cwd=Path("/"))
    assert "Traceback" not in done.err, done.err
    assert len(done.out) + len(done.err) < 65536
    said = done.json
    assert said["status"] == done.status
    return said


def _found(said: dict[str, Any], rule: str) -> dict[str, Any]:
    found = [each for each in said["findings"] if each["rule"] == rule]
    assert found, [(each["rule"], each["path"]) for each in said["findings"]]
    return dict(found[0])


def _causes(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in said["findings"] if each["confidence"] != "possible" or not each["quiet"]]


def _web_server(jail: Path, port: int) -> None:
    put(jail, "/usr/sbin/nginx")
    for directory in ("etc/nginx/sites-enabled", "var/log/nginx", "var/lib/nginx", "run"):
        (jail / directory).mkdir(parents=True)
    for path in ("/etc/nginx/mime.types", "/etc/localtime", os.path.realpath("/etc/localtime")):
        copy(jail, path)
    script(jail, "/etc/nsswitch.conf", "passwd: files\ngroup: files\n", 0o644)
    script(jail, "/etc/passwd", "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n", 0o644)
    script(jail, "/etc/group", "root:x:0:\nwww-data:x:33:\n", 0o644)
    script(jail, "/srv/index.html", "alive\n", 0o644)
    script(jail, "/etc/nginx/nginx.conf", f"""
        user www-data; worker_processes 2; pid /run/nginx.pid; error_log /dev/null;
        events {{ worker_connections 64; }}
        http {{
            access_log off;
            server {{ listen 127.0.0.1:{port}; root /srv; }}
            include /etc/nginx/mime.types;
            include /etc/nginx/sites-enabled/*;
        }}""", 0o644)


@contextlib.contextmanager
def _web(site: bool, *words: str) -> Iterator[tuple[Path, int, int]]:
    port = _free_port()
    with empty_jail() as jail:
        _web_server(jail, port)
        if "-c" in words:
            (jail / "etc/nginx/nginx.conf").rename(jail / words[-1].lstrip("/"))
        if site:
            script(jail, "/etc/nginx/sites-enabled/default", "# none\n", 0o644)
        with _in_chroot(jail, "/usr/sbin/nginx", "-g", "daemon off;", *words) as process:
            _until(lambda: _answer(port) == "alive\n")
            yield jail, process, port


@pytest.mark.parametrize("words", (("--reload", "HUP"), (), ("--static",)), ids=("reload", "watched", "static"))
def test_an_include_directory_that_was_emptied(words: tuple[str, ...]) -> None:
    with _web(site=True) as (jail, process, port):
        (jail / "etc/nginx/sites-enabled/default").unlink()
        before, host = digest(jail), digest(Path("/etc/nginx"))
        ask = ("--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/") if "--static" not in words else ()
        said = _doctor(process, *words, *ask)
        assert said["findings"][0]["path"] == "/etc/nginx/sites-enabled"
        found = _found(said, "empty-directory")
        assert found["confidence"] == "likely"
        listed = any("getdents64" in line for line in found["evidence"])
        assert listed == ("HUP" in words), found["evidence"]
        assert said["status"] == 1
        assert f"process {process} in {jail}" in said["ended"]
        assert _answer(port) == "alive\n"
        assert _tracers(process) == {"0"}
        assert (digest(jail), digest(Path("/etc/nginx"))) == (before, host)
        for command in found["remedy"]:
            subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
        assert (jail / "etc/nginx/sites-enabled/default").exists()
        assert not [each for each in _doctor(process, *words)["findings"] if each["path"] == found["path"]]


def test_the_configuration_that_its_title_names() -> None:
    with _web(False, "-c", "/srv/own.conf") as (_, process, _):
        found = _found(_doctor(process, "--static"), "empty-directory")
        assert found["path"] == "/etc/nginx/sites-enabled"
        assert found["evidence"][0].startswith("/srv/own.conf: include /etc/nginx/sites-enabled/*;")


def test_a_healthy_one() -> None:
    with _web(site=True) as (_, process, port):
        ask = ("--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
        said = _doctor(process, "--reload", "HUP", *ask)
        assert _causes(said) == []
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
        with _perl(jail, does) as (process, port):
            assert _answer(port) == "alive\n"   # it is connected
            service.close()
            if left != "socket":
                (jail / "dev/log").unlink()
            if left == "file":
                (jail / "dev/log").touch()
            before = digest(jail)
            ask = f"curl -sf --noproxy '*' http://127.0.0.1:{port}/"
            drive = [*words, f"{ask} && {ask}"] if words else []
            said = _doctor(process, *drive)
            assert [each["path"] for each in _causes(said)] == ["/dev/log"]
            assert said["findings"][0]["confidence"] == "likely"
            assert said["status"] == 1
            assert digest(jail) == before
            assert _answer(port) == "alive\n"
            assert _tracers(process) == {"0"}


def test_a_log_that_is_there() -> None:
    with empty_jail() as jail, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        put(jail, "/usr/bin/perl")
        service.bind(str(jail / "dev/log"))
        with _perl(jail, _LOST["it sends"][0]) as (process, port):
            said = _doctor(process, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            assert _causes(said) == []
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
            with _in_chroot(jail, "/tells") as process:
                assert b"hello" in service.recv(1000)
                service.close()
                (jail / "dev/log").unlink()
                quiet = _doctor(process, "--static")
                assert _found(quiet, "log-socket")["confidence"] == "likely"
                said = _doctor(process, "--exercise", f"kill -USR1 {process}")
                assert _found(said, "log-socket")["path"] == "/dev/log"
                assert any("connect" in line for line in said["findings"][0]["evidence"])


# --- what it holds -------------------------------------------------------------------------------------------------


def test_what_it_holds_is_no_longer_there() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        (jail / "var/log").mkdir(parents=True)
        (jail / "dev/null").unlink()
        script(jail, "/dev/null", "", 0o666)
        does = "$n++ or do { open(G, '>>/var/log/app.log'); open(N, '>>/dev/null') };"
        with _perl(jail, does) as (process, port):
            _answer(port)
            assert _found(_doctor(process, "--static"), "device-is-file")["path"] == "/dev/null"
            (jail / "dev/null").unlink()
            os.mknod(jail / "dev/null", 0o020666, os.makedev(1, 3))
            (jail / "var/log/app.log").unlink()
            next(path for path in jail.glob("usr/lib/*/libcrypt.so.1*") if not path.is_symlink()).unlink()
            said = _doctor(process, "--static")
            assert _found(said, "holds-file")["path"] == "/dev/null"
            assert _found(said, "deleted-log")["path"] == "/var/log/app.log"
            assert {each["confidence"] for each in said["findings"] if each["rule"] == "lost-file"} == {"likely"}
            shutil.copy("/usr/bin/perl", jail / "new")
            (jail / "new").rename(jail / "usr/bin/perl")
            assert _found(_doctor(process, "--static"), "replaced-file")["path"] == "/usr/bin/perl"
            assert _answer(port) == "alive\n"


def test_its_root_is_gone() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with _perl(jail, "stat('/etc/hosts')") as (process, port):
            shutil.rmtree(jail)
            said = _doctor(process, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
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
        with _running("perl", "-e", does, f"{outside}/conf") as daemon:
            _until(lambda: os.readlink(f"/proc/{daemon.pid}/root") == str(jail))
            said = _doctor(daemon.pid, "--reload", "HUP")
            assert said["program"] == os.path.realpath("/usr/bin/perl")
            assert _found(said, "log-outside")["path"] == f"{outside}/log"
            assert _found(said, "configuration")["path"] == f"{outside}/conf"
            assert not [each for each in said["findings"] if each["rule"] in ("program", "lost-file")]
            assert any(each["path"] == "/etc/hosts" for each in said["findings"])


def test_another_user() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        script(jail, "/etc/list", "x\n", 0o600)
        does = "$n++ or ($) = '1 1', $> = 1); open(F, '/etc/list');"
        with _perl(jail, does) as (process, port):
            said = _doctor(process, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            found = _found(said, "closed")
            assert found["path"] == "/etc/list"
            assert "user 1 " in found["message"]


def test_mounts_of_its_own() -> None:
    """A root that has no path here: by pivot_root(2), as that of a container."""
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        script(jail, "/daemon", _DAEMON, 0o644)
        port = _free_port()
        words = f"""
            mount --bind {jail} {jail}; cd {jail}; mkdir before; mount -t tmpfs -o noexec,size=1m none dev; pivot_root . before
            exec /usr/bin/perl /daemon {port} '-e "/etc/hosts"; open(N, "/dev/null")'
        """
        with _running("unshare", "--mount", "--propagation", "private", "sh", "-ec", words) as daemon:
            _until(lambda: _answer(port) == "alive\n")
            said = _doctor(daemon.pid, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            hosts = next(each for each in said["findings"] if each["path"] == "/etc/hosts")
            assert hosts["remedy"] == [f"cd / && cp -a --parents etc/hosts /proc/{daemon.pid}/root/"]
            null = _found(said, "device")
            assert null["path"] == "/dev/null"
            for command in (*hosts["remedy"], *null["remedy"]):
                subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
            assert (jail / "etc/hosts").exists()
            assert not (jail / "dev/null").is_file()
            after = _doctor(daemon.pid, "--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            assert not {"/etc/hosts", "/dev/null"} & {each["path"] for each in after["findings"]}


def test_mounts_over_the_host_s_root() -> None:
    lists = "while (1) { opendir(D, q(/etc/nginx)); 1 while readdir D; sleep 1 }"
    words = f"mount -t tmpfs -o size=1m none /etc/nginx; exec perl -e '{lists}'"
    with _running("unshare", "--mount", "--propagation", "private", "sh", "-ec", words) as daemon:
        _until(lambda: "perl" in os.readlink(f"/proc/{daemon.pid}/exe"))
        found = _found(_doctor(daemon.pid, seconds="2"), "empty-directory")
        assert found["path"] == "/etc/nginx"
        assert found["remedy"] == [f"cd / && cp -a --parents etc/nginx /proc/{daemon.pid}/root/"]


def test_threads() -> None:
    port = _free_port()
    with empty_jail() as jail:
        put(jail, "/usr/bin/memcached")
        for path in ("/etc/passwd", "/etc/localtime", os.path.realpath("/etc/localtime")):
            copy(jail, path)
        script(jail, "/etc/nsswitch.conf", "passwd: files\n", 0o644)
        words = ("/usr/bin/memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-t", "4")
        with _in_chroot(jail, *words) as process:
            _until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True)
            assert len(list(Path(f"/proc/{process}/task").iterdir())) > 4
            ask = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'version\\r\\n' >&3; head -n 1 <&3 | grep VERSION"
            said = _doctor(process, "--exercise", f"bash -c {shlex.quote(ask)}")
            assert _causes(said) == []
            assert (said["status"], said["failure"], said["notes"]) == (0, "", [])
            assert _tracers(process) == {"0"}


# --- what becomes of it, and of doctor -----------------------------------------------------------------------------


@contextlib.contextmanager
def _watcher(process: int, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    doctor = subprocess.Popen(
        [*COMMAND, "doctor", "--pid", str(process), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=_HERE,
        stdin=subprocess.DEVNULL,
    )
    try:
        _until(lambda: _tracers(process) - {"0"} or doctor.poll() is not None)
        assert doctor.poll() is None, doctor.communicate()
        assert doctor.stderr is not None
        assert b"watches" in doctor.stderr.readline()
        yield doctor
    finally:
        if doctor.poll() is None:
            doctor.kill()
        doctor.communicate()


@pytest.mark.parametrize("number", (signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
def test_doctor_is_told_to_end(number: signal.Signals) -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with _perl(jail, "-e '/etc/debian_version'") as (process, port):
            with _watcher(process, "--timeout", "60", "--exercise", "sleep 7531") as doctor:
                assert _answer(port) == "alive\n"
                doctor.send_signal(number)
                out, err = doctor.communicate(timeout=20)
            assert b"Traceback" not in err
            assert doctor.returncode == (-9 if number == signal.SIGKILL else 0)
            assert (b"/etc/debian_version is not in the jail" in out) == (number != signal.SIGKILL)
            assert (b"had not ended" in out) == (number != signal.SIGKILL)
            _until(lambda: _tracers(process) == {"0"})
            assert _answer(port) == "alive\n"
            _until(lambda: not _named("sleep\0" + "7531"))


def _named(words: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_text(errors="replace").startswith(words):
                found.append(path.parent.name)
    return found


def test_one_that_ends() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with _perl(jail, "open(F, '/etc/hosts') or $n++ and exit 3") as (process, _):
            said = _doctor(process, "--reload", "HUP", seconds="20")
            assert said["ended"] == "exited with status 3 while it was watched"
            assert said["findings"][0]["path"] == "/etc/hosts"
            assert said["findings"][0]["confidence"] == "likely"
            assert said["status"] == 1
        with _perl(jail, "$n++ and exit 3") as (process, _):
            assert _doctor(process, "--reload", "HUP", seconds="20")["status"] == 3


def test_one_that_is_stopped() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with _perl(jail) as (process, port):
            os.kill(process, signal.SIGSTOP)
            _until(lambda: "State:\tT" in Path(f"/proc/{process}/status").read_text())
            assert _causes(_doctor(process)) == []
            assert "State:\tT" in Path(f"/proc/{process}/status").read_text()
            os.kill(process, signal.SIGCONT)
            assert _answer(port) == "alive\n"


def test_an_exercise_that_fails() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with _perl(jail) as (process, port):
            words = ("--timeout", "1.5", "--exercise", "echo sorry; false")
            told = tracejail("doctor", "--pid", str(process), *words, cwd=Path("/"))
            assert told.out.startswith("IT RUNS, BUT: the exercise 'echo sorry; false' failed with status 1")
            assert "sorry" in told.out
            assert told.status == 3
            assert _answer(port) == "alive\n"


def test_much_that_is_lacking_is_bounded_and_escaped() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        names = [str(path) for path in Path("/usr/share").rglob("*") if path.is_file()][:3000]
        script(jail, "/list", "\n".join(names), 0o644)
        does = "open(F, '/list'); while (<F>) { chomp; -e }; mkdir qq(/no/\\x1b[31mred/x)"
        with _perl(jail, does) as (process, port):
            ask = ("--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            assert len(_doctor(process, *ask, seconds="4")["findings"]) > 10
            told = tracejail("doctor", "-v", "--pid", str(process), "--timeout", "4", *ask, cwd=Path("/"))
            assert len(told.out.encode()) + len(told.err.encode()) < 65536
            assert "\x1b" not in told.out
            assert "red" in told.out


# --- refusals ------------------------------------------------------------------------------------------------------


def _refused(process: int | str, word: str, *words: str, status: int = 2) -> Done:
    done = tracejail("doctor", "--pid", str(process), *words, cwd=Path("/"))
    assert done.status == status
    assert word in done.err
    two_lines(done)
    return done


def test_refusals() -> None:
    _refused(2**22, "No such process")
    _refused(2, "part of the kernel")
    _refused(os.getpid(), "has started this tracejail")
    with _running("sleep", "60") as outside:
        _refused(outside.pid, "is not in a jail")
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with _perl(jail) as (process, _):
            _refused(process, "does not catch SIGUSR1", "--reload", "USR1")
            _refused(process, "not a signal", "--reload", "NONSENSE")
            with _watcher(process, "--timeout", "60"):
                _refused(process, "is traced already, by process")
        script(jail, "/w", "sleep 60", 0o644)
        with _running("sh", "-c", f"chroot {jail} /usr/bin/perl -e 'sleep 60' & wait") as master:
            children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
            _until(lambda: children.read_text() and os.readlink(f"/proc/{children.read_text().strip()}/root") == str(jail))
            worker = children.read_text().strip()
            assert f"--pid {worker}" in _refused(master.pid, "is not in a jail").err


@pytest.mark.parametrize("words", [
    ["--pid", "1.5"], ["--pid", "0"], ["--pid", "7", "prog"], ["--pid", "7", "-j", "/tmp"], ["--pid", "7", "-u", "root"],
    ["--pid", "7", "--fix"], ["--pid", "7", "-E", "A=b"], ["--pid", "7", "--static", "--reload", "HUP"], ["--pid"],
    ["--pid", "7", "--mount", "proc"],
])
def test_usage(words: list[str]) -> None:
    done = tracejail("doctor", *words)
    assert done.status == 2
    two_lines(done)
