"""SIGKILL of the learner at any moment: nothing is left, and the next learn works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tool import COMMAND, mounts, processes, tracejail

PROGRAM = """
import os, sys, time
for name in sorted(os.listdir("/usr/lib/python3.11"))[:60]:
    try:
        open("/usr/lib/python3.11/" + name, "rb").read()
    except OSError:
        pass
if os.fork() == 0:
    time.sleep(0.2)
"""


def wait_until(condition: object, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    mark = f"mark-{os.getpid()}-{number}"
    before = mounts()
    words = ["learn", "-j", str(tmp_path / "jail"), "/usr/bin/python3", "-c", PROGRAM, mark]
    chance = random.Random(int(number))
    for _ in range(20 if number is signal.SIGKILL else 5):
        learner = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(chance.uniform(0.02, 0.9))
        learner.send_signal(number)
        _, errors = learner.communicate(timeout=30)
        assert b"Traceback" not in errors
        assert wait_until(lambda: not processes(mark)), f"processes left: {processes(mark)}"
        assert mounts() == before
        # A jail that is there is whole: it came by one rename, with its manifest after it.
        assert wait_until(lambda: not [name for name in os.listdir(tmp_path) if name.startswith(".")]), os.listdir(tmp_path)
        for name in os.listdir(tmp_path):
            assert name in ("jail", "jail.json"), os.listdir(tmp_path)
        if learner.returncode == 0:
            subprocess.run(["rm", "-rf", tmp_path / "jail", tmp_path / "jail.json"], check=True)
    done = tracejail("learn", "--replace", *words[1:])
    assert done.status == 0, done.out + done.err


def test_a_stale_staging_directory_is_cleared(tmp_path: Path) -> None:
    stale = tmp_path / ".jail.tracejail"
    (stale / "root" / "etc").mkdir(parents=True)
    (stale / "root" / "etc" / "half").write_text("x")
    done = tracejail("learn", "-j", tmp_path / "jail", "/bin/true")
    assert done.status == 0, done.err
    assert not stale.exists()


def test_a_locked_jail_is_refused(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [*COMMAND, "learn", "-j", str(tmp_path / "jail"), "/bin/sleep", "3"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert wait_until(lambda: (tmp_path / ".jail.tracejail").exists())
    time.sleep(0.2)
    assert tracejail("learn", "-j", tmp_path / "jail", "/bin/true").status == 7
    assert first.wait(60) == 0
