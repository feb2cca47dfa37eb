"""The peers: installed where they are to be had; one line for each that is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .bench import Bench
from .process import TOP, Failed, run
from .tools import CDE, PERF, STRACE, STRACE_PLAIN, Tool, care, engines, reprozip

NEEDED = ("gcc", "libc6-dev", "strace", "apache2", "apache2-utils", "nginx-light", "redis-server", "redis-tools",
          "postgresql-15", "postgresql-client-15", "curl", "git", "iproute2", "util-linux", "python3")
WISHED = ("linux-perf", "care", "cde", "jailkit", "libsqlite3-dev")


def install(packages: Iterable[str]) -> None:
    """Debian packages, none of their services started. Raises Failed."""
    done = subprocess.run(["sh", str(TOP / "tests/install-packages.sh"), *packages], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines() or ["no word"]
        raise Failed(lines[0])


def install_wished() -> list[str]:
    """What a machine can do without; one line for each package that is not to be had."""
    without = []
    for package in WISHED:
        try:
            install([package])
        except Failed as failed:
            without.append(f"Debian package {package}: {failed}")
    return without


def gather(bench: Bench) -> list[str]:
    """Fill in the tools of a bench; gives a line for each tool that is left out, and why."""
    without: list[str] = []
    with bench.scratch() as folder:
        traces, left = engines("trace", folder)
        without += left
        bench.learners, left = engines("learn", folder)
        without += left
        peers = [STRACE, STRACE_PLAIN, PERF, CDE, care(bench.work)]
        try:
            bench.reprozip = _reprozip(bench.work)
            peers.insert(3, reprozip(bench.reprozip))
        except Failed as failed:
            without.append(f"ReproZip: {failed}")
        bench.watchers = [*traces, *(tool for tool in peers if _works(bench, tool, without))]
    return without


def _works(bench: Bench, tool: Tool, without: list[str]) -> bool:
    try:
        bench.timed(tool, bench.load_words("getppid", 1), limit=30)
    except Failed as failed:
        without.append(f"{tool.name}: {failed}")
        return False
    return True


def _reprozip(work: Path) -> Path:
    """ReproZip in a virtual environment of its own. Raises Failed."""
    place = work / "reprozip"
    run([sys.executable, "-m", "venv", str(place)]).checked()
    run([str(place / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "reprozip"], limit=300).checked()
    return place / "bin"
