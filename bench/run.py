"""What is timed: start-up, learning small programs, learning daemons against their native run, and the cost of a stop.

Medians of a few runs with their spread, and ratios within one run: the machines are shared and noisy. Nothing here is a
test. A learn has two rounds (learning and proving) and builds the jail; its whole time is compared.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TRACEJAIL = [sys.executable, "-m", "tracejail"]
RUNS = 5
OPENS = 20000
LOAD = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(int c, char **v) { for (long i = atol(v[1]); i > 0; i--) { int f = open(v[2], O_RDONLY); if (f >= 0) close(f); } }
"""


@dataclass(frozen=True)
class Daemon:
    """A server on a loopback port, and a client for it."""

    name: str
    command: list[str]
    port: int
    client: str
    options: tuple[str, ...] = ()


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Median and spread (largest minus smallest) of the seconds of an action."""
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), max(seconds) - min(seconds)


def quietly(words: list[str]) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def learn(work: Path, words: list[str]) -> dict[str, object]:
    jail = work / "jail"
    shutil.rmtree(jail, ignore_errors=True)
    done = subprocess.run(
        [*TRACEJAIL, "learn", "--json", "-j", str(jail), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    result: dict[str, object] = json.loads(done.stdout)
    return result


def native(daemon: Daemon) -> None:
    """Start it, wait until it answers, run the client, stop it."""
    server = subprocess.Popen(daemon.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", daemon.port)):
            time.sleep(0.005)
        quietly(["/bin/sh", "-c", daemon.client])
    finally:
        server.terminate()
        server.wait()


def daemons(work: Path) -> list[Daemon]:
    (work / "www").mkdir()
    (work / "www/index.html").write_text("page\n")
    nginx = work / "nginx.conf"
    nginx.write_text(
        f"daemon off; pid {work}/pid; error_log {work}/error.log; events {{}}\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:18080; root {work}/www; }} }}\n"
    )
    return [
        Daemon("nginx", ["/usr/sbin/nginx", "-c", str(nginx)], 18080, "curl -fsS http://127.0.0.1:18080/"),
        Daemon("redis-server", ["/usr/bin/redis-server", "--port", "16379", "--save", ""], 16379, "redis-cli -p 16379 set a b"),
    ]


def row(name: str, median: float, spread: float, note: str = "") -> None:
    print(f"{name:<44} {median * 1000:9.1f} ms  +-{spread * 500:7.1f}  {note}")


def main() -> None:
    os.chdir("/")
    work = Path(tempfile.mkdtemp(prefix="tracejail-bench."))
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    try:
        nothing = timed(lambda: quietly([sys.executable, "-c", "pass"]))
        version = timed(lambda: quietly([*TRACEJAIL, "--version"]))
        row("python3 -c pass", *nothing)
        row("tracejail --version", *version, f"{version[0] / nothing[0]:.2f} times")
        for words in (["/bin/ls"], ["/bin/sh", "-c", "pwd"], ["/usr/bin/python3", "-c", "import ssl, json, sqlite3"]):
            row("learn " + " ".join(words), *timed(lambda words=words: learn(work, words)))  # type: ignore[misc]
        for daemon in daemons(work):
            alone = timed(lambda daemon=daemon: native(daemon))  # type: ignore[misc]
            words = ["--exercise", daemon.client, *daemon.options, *daemon.command]
            learned = timed(lambda words=words: learn(work, words))  # type: ignore[misc]
            row(f"{daemon.name}, native with its client", *alone)
            bound = 2.5 * alone[0] + 0.3
            row(f"learn {daemon.name}, both rounds and the jail", *learned, f"2.5 times native + 0.3 s = {bound * 1000:.0f} ms")
        (work / "load.c").write_text(LOAD)
        quietly(["gcc", "-O2", "-o", str(work / "load"), str(work / "load.c")])
        for name, path in (("that succeed", "/etc/passwd"), ("that miss", "/nowhere")):
            load = [str(work / "load"), str(OPENS), path]
            plain = timed(lambda load=load: quietly(load))  # type: ignore[misc]
            ours = timed(lambda load=load: quietly([*TRACEJAIL, "trace", *load]))  # type: ignore[misc]
            strace = ["strace", "-f", "--seccomp-bpf", "-e", "trace=%file", "-o", "/dev/null", *load]
            peer = timed(lambda words=strace: quietly(words))  # type: ignore[misc]
#DEL"strace", "-f", "--seccomp-bpf", "-e", "trace=%file", "-o", "/dev/null", *load]))  # type: ignore[misc]
            row(f"{OPENS} opens {name}, native", *plain)
            row("  tracejail trace", *ours, f"{(ours[0] - plain[0]) / OPENS * 1e6:.1f} us a call")
            row("  strace --seccomp-bpf", *peer, f"{(peer[0] - plain[0]) / OPENS * 1e6:.1f} us a call")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
