"""Every call of a run is heard: the failures that doctor knows against those that strace(1) shows, one by one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.doctor.jails import empty_jail, put
from tests.tool import tracejail
from tracejail.trial.target import caller_environment

_TOP = Path(__file__).parents[2]
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += -1 (E[A-Z]+) \(")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BY_THE_WAY = {("ioctl", "ENOTTY"), ("wait4", "ECHILD"), ("lseek", "ESPIPE"), ("close", "EBADF"), ("fcntl", "EBADF")}
_THREADS = (
    "import threading, os\n"
    "def look(n):\n"
    "    for i in range(20):\n"
    "        try: os.stat(f'/lost/{n}/{i}')\n"
    "        except OSError: pass\n"
    "all = [threading.Thread(target=look, args=(n,)) for n in range(4)]\n"
    "[each.start() for each in all]; [each.join() for each in all]\n"
)
PROGRAMS = (
    ("/bin/dash", "-c", "cat /etc/passwd; ls /lost; cd /nowhere; exit 3"),
    ("/bin/cat", "/etc/hostname", "/dev/null/x", "/dev/tty"),
    ("/usr/bin/perl", "-e", "open F, '/a'; unlink '/b'; mkdir '/c/d'; rename '/e', '/f'; kill 0, 99999; setpriority(9, 9, 9)"),
    ("/usr/bin/perl", "-e", "fork; fork; stat('/lost') for 1..10; wait; wait"),
    ("/usr/bin/env", "-u", "X", "lost", "word"),
)


def _by_strace(jail: Path, words: tuple[str, ...]) -> Counter[tuple[str, str, str]]:
    out = jail.parent / "strace"
    subprocess.run(
        ["strace", "-f", "-qq", "-s", "4096", "-o", out, "chroot", jail, *words],
        env=caller_environment(()), capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=60, cwd="/",
    )
    lines = out.read_text("utf-8", "replace").splitlines()
    begun: dict[str, str] = {}
    found: Counter[tuple[str, str, str]] = Counter()
    entered = False
    for line in lines:
        process = line.split()[0]
        if line.endswith("<unfinished ...>"):
            begun[process] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := _RESUMED.match(line):
            line = begun.pop(process, "") + resumed[3]
        if not entered:
            entered = f'execve("{words[0]}"' in line and line.endswith(" = 0")
            continue
        match = _LINE.match(line)
        if match and match[1] != "futex" and (match[1], match[3]) not in _BY_THE_WAY:
            paths = _PATH.findall(match[2].partition("[")[0] if match[1] == "execve" else match[2])
            found[match[1], paths[-1] if paths else "", match[3]] += 1
    return found


def _same(jail: Path, words: tuple[str, ...]) -> None:
    seen = _by_strace(jail, words)
    done = subprocess.run(
        [sys.executable, "-m", "tests.doctor.heard", jail, *words],
        capture_output=True, stdin=subprocess.DEVNULL, check=True, timeout=60, cwd=_TOP,
    )
    heard = Counter({(name, path, error): count for name, path, error, count in json.loads(done.stdout)})
    assert sum(seen.values()) >= 1
    assert heard == seen


@pytest.mark.parametrize("words", PROGRAMS, ids=lambda words: f"{words[0].rpartition('/')[2]} {words[-1][:20]}")
def test_the_failures_are_those_of_strace(words: tuple[str, ...]) -> None:
    with empty_jail() as jail:
        put(jail, words[0])
        _same(jail, words)


def test_those_of_threads_too() -> None:
    words = ("/usr/bin/python3", "-c", _THREADS)
    with empty_jail() as jail:
        jail.rmdir()
        done = tracejail("learn", "-q", "-j", jail, "-m", jail.parent / "jail.json", *words, cwd=Path("/"))
        assert done.status == 0, done.err
        _same(jail, words)
