"""Fifty exercises against one daemon of twenty workers, two thousand requests: nothing is lost, in little memory, and the
status line lives."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.kernel import fixture as fx
from tests.tool import COMMAND, processes

_EXERCISES, _REQUESTS, _AT_ONCE = 50, 40, 10
_MOST_MEMORY = 200 << 10   # kB, as rusage has it
_LIMIT = 150               # seconds
_LONGEST_SILENCE = 1.5     # seconds between two states of the status line
_CLIENT = """
import socket, sys, concurrent.futures as c
def ask(n):
    with socket.create_connection(("127.0.0.1", 7007), 20) as s:
        s.sendall(b"%d\\n" % n)
        return s.recv(64) == b"text %d\\n" % n
first = int(sys.argv[1])
with c.ThreadPoolExecutor({at_once}) as pool:
    sys.exit(0 if all(pool.map(ask, range(first, first + {requests}))) else 1)
"""


@pytest.mark.parametrize("engine", ["bpf", "seccomp"])
def test_many_exercises(tmp_path: Path, engine: str) -> None:
    base = tmp_path / "base"
    (base / "data").mkdir(parents=True)
    total = _EXERCISES * _REQUESTS
    for number in range(total):
        (base / "data" / str(number)).write_text(f"text {number}\n")
    program = tmp_path / "workers"
    subprocess.run(["gcc", "-O1", "-I", fx.DIRECTORY, "-o", program, fx.DIRECTORY / "load" / "workers.c"], check=True)
    client = tmp_path / "client.py"
    client.write_text(_CLIENT.format(at_once=_AT_ONCE, requests=_REQUESTS))
    exercises = []
    for number in range(_EXERCISES):
        exercises += ["--exercise", f"/usr/bin/python3 -I -S {client} {number * _REQUESTS}"]
    words = [*COMMAND, "learn", "--json", "--engine", engine, "-j", tmp_path / "jail", *exercises, program, base]
    ours, theirs = pty.openpty()
    with (tmp_path / "out").open("wb") as out:  # a pipe would fill
        learner = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=theirs)
    os.close(theirs)
    lines, gaps, memory = _follow(ours, learner)
    assert learner.returncode == 0, lines[-5:]
    result = json.loads((tmp_path / "out").read_text())
    assert (result["clean"], result["rounds"]) == (True, 2), result
    paths = {entry["path"] for entry in json.loads((tmp_path / "jail.json").read_text())["entries"]}
    lost = [number for number in range(total) if f"{base}/data/{number}" not in paths]
    assert not lost
    assert memory < _MOST_MEMORY
    assert max(gaps) < _LONGEST_SILENCE, gaps
    shown = {int(found[1]) for line in lines if (found := re.search(r"exercise (\d+) of 50", line))}
    assert len(shown) >= 10, lines
    assert any("21 processes" in line for line in lines)
    assert not processes(str(base))


def _follow(terminal: int, learner: subprocess.Popen[bytes]) -> tuple[list[str], list[float], int]:
    """The states of the status line, the seconds between them, and the most memory (kB), once the learner has ended."""
    text, gaps, last = b"", [0.0], time.monotonic()
    limit = last + _LIMIT
    with contextlib.suppress(OSError):  # the last holder of the other end has gone
        while time.monotonic() < limit:
            readable, _, _ = select.select([terminal], [], [], 1)
            text += os.read(terminal, 65536) if readable else b""
            if readable:
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
    os.close(terminal)
    if time.monotonic() >= limit:
        learner.kill()
    _, status, usage = os.wait4(learner.pid, 0)
    learner.returncode = os.waitstatus_to_exitcode(status)
    return text.decode("utf-8", "replace").split("\r\x1b[K"), gaps, usage.ru_maxrss
