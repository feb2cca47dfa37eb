"""Daemons that run in a jail already, and doctor --pid of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.doctor.jails import copy, empty_jail, put, script
from tests.tool import tracejail, until

_PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
# Answers each connection, and does then what its argument says; at SIGHUP as well.
DAEMON = """
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


def free_port() -> int:
    """One of loopback that nobody listens on now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def answer(port: int) -> str:
    """What a daemon says there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return str(answer.read().decode())


@contextlib.contextmanager
def running(*words: str | Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, which ends with the block."""
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
def in_chroot(jail: Path, *words: str | Path) -> Iterator[int]:
    """The same in a jail; its process id."""
    with running("chroot", jail, *words) as daemon:
        until(lambda: os.readlink(f"/proc/{daemon.pid}/root") == str(jail) or daemon.poll())
        assert daemon.poll() is None
        yield daemon.pid


@contextlib.contextmanager
def perl(jail: Path, does: str = "", port: int = 0) -> Iterator[tuple[int, int]]:
    """The daemon of above, in a jail; its process and port."""
    port = port or free_port()
    script(jail, "/daemon", DAEMON, 0o644)
    with in_chroot(jail, "/usr/bin/perl", "/daemon", str(port), does) as process:
        until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True)
        yield process, port


def doctor(process: int, *words: str, seconds: str = "1.5") -> dict[str, Any]:
    """What doctor says of a process."""
    timed = () if "--static" in words else ("--timeout", seconds)
    done = tracejail("doctor", "--pid", str(process), "--json", *timed, *words, cwd=Path("/"))
    assert "Traceback" not in done.err, done.err
    assert len(done.out) + len(done.err) < 65536
    said = done.json
    assert said["status"] == done.status
    return said


def found(said: dict[str, Any], rule: str) -> dict[str, Any]:
    """The first finding of a rule."""
    told = [each for each in said["findings"] if each["rule"] == rule]
    assert told, [(each["rule"], each["path"]) for each in said["findings"]]
    return dict(told[0])


def causes(said: dict[str, Any]) -> list[dict[str, Any]]:
    """All but what is possible and quiet."""
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
def web(site: bool, *words: str) -> Iterator[tuple[Path, int, int]]:
    """A web server in a jail; the jail, its process and port."""
    port = free_port()
    with empty_jail() as jail:
        _web_server(jail, port)
        if "-c" in words:
            (jail / "etc/nginx/nginx.conf").rename(jail / words[-1].lstrip("/"))
        if site:
            script(jail, "/etc/nginx/sites-enabled/default", "# none\n", 0o644)
        with in_chroot(jail, "/usr/sbin/nginx", "-g", "daemon off;", *words) as process:
            until(lambda: answer(port) == "alive\n")
            yield jail, process, port
