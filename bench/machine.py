"""The facts of the machine that figures depend on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .process import TOP

_PACKAGES = ("strace", "linux-perf", "cde", "care", "jailkit", "apache2", "nginx", "redis-server", "postgresql-15", "gcc", "git",
             "python3")


def _output(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=TOP)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def facts(reprozip: Path | None) -> Iterator[str]:
    """One line for each."""
    changed = " with changes" if _output("git", "status", "--porcelain", "--untracked-files=no") else ""
    yield f"tracejail at commit {_output('git', 'rev-parse', '--short', 'HEAD') or 'unknown'}{changed}"
    yield f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"
    yield f"kernel {platform.release()} {platform.machine()}"
    yield f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores"
    yield f"memory {int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 1048576:.1f} GiB"
    yield f"load average at the start {os.getloadavg()[0]:.2f}"
    yield f"Python {platform.python_version()}"
    versions = [(name, _output("dpkg-query", "-W", "-f", "${Version}", name)) for name in _PACKAGES]
    if reprozip:
        versions.append(("reprozip", _output(str(reprozip / "reprozip"), "--version").rpartition(" ")[2]))
    yield "versions: " + ", ".join(f"{name} {version}" for name, version in versions if version)
