"""learn --attach to servers that work meanwhile: they are unharmed and serve on, and the guess can be made a proven jail."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from private_host import PrivateHost
from real import ENVIRONMENT, TOP, Site, entry_paths, until

KILLS = 50


def _start(host: PrivateHost, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        host.words(list(words)), cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def _serving(host: PrivateHost, ready: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    server = _start(host, *words)
    try:
        until(lambda: host.call(["/bin/sh", "-c", ready]).returncode == 0, "it serves", 20)
        yield server
    finally:
        for process in _family(server.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        server.wait(10)


def _family(process: int) -> list[int]:
    found = [process]
    for each in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text("ascii").split())
    return found


def _tracers(process: int) -> set[str]:
    found = set()
    for each in _family(process):
        with contextlib.suppress(OSError):
            found |= set(re.findall(r"^TracerPid:\s*(\d+)", Path(f"/proc/{each}/status").read_text("ascii"), re.MULTILINE))
    return found


def _watcher(host: PrivateHost, process: int, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tracejail", "learn", "--attach", str(process), *words]
    watcher = subprocess.Popen(
        host.words(command), cwd="/", env={**ENVIRONMENT, "PYTHONPATH": str(TOP)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    until(lambda: _tracers(process) - {"0"} or watcher.poll() is not None, "it is watched", 20)
    return watcher


def _answers(text: str) -> tuple[int, int]:
    """Requests that ab(1) had answered, and those that went wrong."""
    rows = re.findall(r"^(Complete requests|Failed requests|Non-2xx responses):\s+(\d+)", text, re.MULTILINE)
    numbers = {key: int(value) for key, value in rows}
    return numbers["Complete requests"], numbers["Failed requests"] + numbers.get("Non-2xx responses", 0)


NGINX = ("/usr/sbin/nginx", "-g", "daemon off;")
ASK = "curl -fsS --noproxy '*' http://127.0.0.1/page.txt"


def _prepare(host: PrivateHost) -> None:
    host.shell("echo hello >/var/www/html/page.txt; : >/var/log/nginx/error.log")


def test_nginx(site: Site, host: PrivateHost) -> None:
    site.fresh(None)
    _prepare(host)
    with _serving(host, ASK, *NGINX) as server:
        before = _family(server.pid)
        load = subprocess.Popen(host.words(["ab", "-q", "-c", "8", "-t", "5", "http://127.0.0.1/page.txt"]), cwd="/",
                                env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watcher = _watcher(host, server.pid, "-j", str(site.jail), "--json")
        time.sleep(1)
        os.kill(server.pid, signal.SIGUSR1)     # logs anew
        os.kill(server.pid, signal.SIGHUP)      # configuration anew, and other workers
        time.sleep(1)
        assert host.shell(ASK) == "hello\n"
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=120)
        assert watcher.returncode == 1, err
        said, _ = load.communicate(timeout=60)
        answered, failed = _answers(said)
        assert answered > 100
        assert failed == 0, said
        assert _tracers(server.pid) == {"0"}
        assert _family(server.pid) != before
        assert host.shell(ASK) == "hello\n"
        assert "alert" not in host.shell("cat /var/log/nginx/error.log")
    result = json.loads(out)
    assert not result["clean"]
    manifest = json.loads(Path(f"{site.jail}.json").read_text("utf-8"))
    paths = set(entry_paths(manifest))
    assert {"/usr/sbin/nginx", "/var/www/html/page.txt", "/etc/nginx/nginx.conf", "/etc/nginx/mime.types"} <= paths
    assert "/var/log/nginx" in paths
    assert not [path for path in paths if path.startswith(("/var/log/nginx/", "/run/"))]
    assert "0.0.0.0:80" in manifest["listens"]
    assert "www-data" in manifest["accounts"]["users"]
    assert manifest["command"]["argv"][0] == "/usr/sbin/nginx"
    done = host.tracejail("learn", "--append", "-j", str(site.jail), "--exercise", ASK, *NGINX)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads(Path(f"{site.jail}.json").read_text("utf-8"))
    assert manifest["clean"]
    assert not manifest["warnings"]
    assert manifest["command"]["argv"] == list(NGINX)


def test_nginx_outlives_its_watchers(site: Site, host: PrivateHost) -> None:
    """SIGKILL of the watcher at any moment, under load."""
    site.fresh(None)
    _prepare(host)
    chance = random.Random(1)
    with _serving(host, ASK, *NGINX) as server:
        before = _family(server.pid)
        load = subprocess.Popen(host.words(["ab", "-q", "-c", "8", "-n", "100000000", "-t", "600", "http://127.0.0.1/page.txt"]),
                                cwd="/", env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(KILLS):
            watcher = _watcher(host, server.pid, "-j", str(site.jail))
            time.sleep(chance.uniform(0, 0.15))
            watcher.kill()
            watcher.communicate(timeout=20)
            until(lambda: _tracers(server.pid) == {"0"}, "it is let go", 5)
            assert host.shell(ASK) == "hello\n"
        load.send_signal(signal.SIGINT)
        said, _ = load.communicate(timeout=60)
        answered, failed = _answers(said)
        assert answered > 1000
        assert failed == 0, said
        assert _family(server.pid) == before
        assert "alert" not in host.shell("cat /var/log/nginx/error.log")
    assert not site.jail.exists()


def test_redis(site: Site, host: PrivateHost) -> None:
    """It writes over its arguments, and has threads."""
    site.fresh(None)
    ask = "redis-cli -p 7001 ping | grep -q PONG"
    site.write("redis.conf", f"port 7001\nbind 127.0.0.1\ndir {site.files}\nsave 1 1\n")
    with _serving(host, ask, "/usr/bin/redis-server", str(site.files / "redis.conf")) as server:
        load = subprocess.Popen(host.words(["redis-benchmark", "-p", "7001", "-n", "20000", "-t", "set,get", "-q"]), cwd="/",
                                env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watcher = _watcher(host, server.pid, "-j", str(site.jail), "--timeout", "3")
        out, err = watcher.communicate(timeout=60)
        assert watcher.returncode == 1, err
        said, wrong = load.communicate(timeout=60)
        assert load.returncode == 0, said + wrong
        assert _tracers(server.pid) == {"0"}
        assert host.shell("redis-cli -p 7001 ping") == "PONG\n"
    manifest = json.loads(Path(f"{site.jail}.json").read_text("utf-8"))
    assert manifest["command"]["argv"] == ["/usr/bin/redis-server"]
    assert any("its arguments are not known" in warning for warning in manifest["warnings"])
    paths = set(entry_paths(manifest))
    assert {"/usr/bin/redis-server", "/usr/bin/redis-check-rdb", str(site.files)} <= paths
    assert not [path for path in paths if path.endswith(".rdb")]
    assert "ARGUMENT..." in out
