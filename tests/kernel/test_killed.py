"""SIGKILL of the learner at any moment: nothing is left, and the next learn works."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tool import COMMAND, mounts, processes, tracejail

# Busy until it is killed: listings, opens, looks, misses, threads and children.
PROGRAM = """
import os, sys, threading, time
def work():
    for name in sorted(os.listdir("/usr/lib/python3.11"))[:60]:
        try:
            os.stat("/usr/lib/python3.11/" + name)
            open("/usr/lib/python3.11/" + name, "rb").read()
            os.access("/nowhere/" + name, os.R_OK)
        except OSError:
            pass
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
children = [os.fork() for _ in range(2)]
work()
if 0 not in children:
    for child in children:
        os.waitpid(child, 0)
    if os.fork() == 0:
        time.sleep(0.2)
"""
ROUNDS = {signal.SIGKILL: 200, signal.SIGTERM: 10, signal.SIGINT: 10}


def _descriptors(process: int) -> list[str]:
    """What /proc/PID/fdinfo says of each descriptor of a process; empty where it has ended."""
    found = []
    for status in Path(f"/proc/{process}/fdinfo").glob("*"):
        try:
            found.append(status.read_text())
        except OSError:
            continue
    return found


def programs_of(process: int) -> set[int]:
    """The BPF programs that a process holds."""
    words = [line.split() for text in _descriptors(process) for line in text.splitlines()]
    return {int(line[1]) for line in words if line and line[0] == "prog_id:"}


def loaded() -> set[int]:
    """All BPF programs that are in the kernel now."""
    shown = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, check=True)
    return {program["id"] for program in json.loads(shown.stdout)}


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
    assert shutil.which("bpftool"), "install bpftool"
    held = 0
    for _ in range(ROUNDS[number]):
        learner = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(chance.uniform(0.02, 0.7))
        programs = programs_of(learner.pid)
        held += bool(programs)
        learner.send_signal(number)
        _, errors = learner.communicate(timeout=30)
        assert b"Traceback" not in errors
        assert wait_until(lambda: not processes(mark)), f"processes left: {processes(mark)}"
        assert mounts() == before
        assert wait_until(lambda: not programs & loaded()), programs & loaded()  # noqa: B023
        # A jail that is there is whole: it came by one rename, with its manifest after it.
        assert wait_until(lambda: not [name for name in os.listdir(tmp_path) if name.startswith(".")]), os.listdir(tmp_path)
        for name in os.listdir(tmp_path):
            assert name in ("jail", "jail.json"), os.listdir(tmp_path)
        if learner.returncode == 0:
            subprocess.run(["rm", "-rf", tmp_path / "jail", tmp_path / "jail.json"], check=True)
    assert held >= ROUNDS[number] // 4, "it was rarely killed while it held a program"
    done = tracejail("learn", "--replace", "--engine", "bpf", *words[1:])
    assert done.status == 0, done.out + done.err


def test_the_objects_are_seen_while_it_runs(tmp_path: Path) -> None:
    learner = subprocess.Popen([*COMMAND, "learn", "-q", "-j", str(tmp_path / "jail"), "/bin/sleep", "2"])
    try:
        assert wait_until(lambda: len(programs_of(learner.pid)) == 2)
        assert programs_of(learner.pid) <= loaded()
        assert wait_until(lambda: sum("fanotify flags" in text for text in _descriptors(learner.pid)) == 2)
    finally:
        learner.wait(30)


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


# What a shell may start: with a parent that waits, in the background, in a session of its own and known by nothing.
_EXERCISES = (
    "sleep {0}", "sleep {0} & exec sleep {0}", "setsid sleep {0}; true",
    "(setsid env -i sh -c 'sleep {0} & sleep {0}' &) & sleep 0.3",
)
_PLAIN = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]


def _parent_and_all(learner: subprocess.Popen[bytes]) -> None:
    os.killpg(learner.pid, signal.SIGKILL)


def _alone(learner: subprocess.Popen[bytes]) -> None:
    learner.kill()


@pytest.mark.parametrize("kill", [_alone, _parent_and_all])
@pytest.mark.parametrize("exercise", _EXERCISES)
@pytest.mark.parametrize("option", ["--exercise", "--ready"])
def test_no_exercise_is_left_behind(tmp_path: Path, option: str, exercise: str, kill: Callable[..., None]) -> None:
    mark = f"{os.getpid()}{random.randrange(10**6):06}"
    words = [option, ("command:" if option == "--ready" else "") + exercise.format(mark)]
    _kill_in_exercise([*COMMAND, "learn", "-j", str(tmp_path / "jail"), *words, "/bin/sleep", "61"], mark, kill)


@pytest.mark.parametrize("exercise", _EXERCISES)
def test_no_exercise_of_a_plain_user_is_left_behind(place: Path, exercise: str) -> None:
    os.chown(place, 12345, 12345)
    code = place / "code"
    shutil.copytree(Path(__file__).resolve().parents[2] / "tracejail", code / "tracejail")
    for name in ("elftools", "ptrace", "tabulate"):
        shutil.copytree(Path(str(importlib.import_module(name).__file__)).parent, code / name)
    subprocess.run(["chmod", "-R", "a+rX", code], check=True)
    mark = f"{os.getpid()}{random.randrange(10**6):06}"
    learn = ["learn", "-j", str(place / "jail"), "--exercise", exercise.format(mark), "/bin/sleep", "61"]
    words = [*_PLAIN, "env", f"PYTHONPATH={code}", f"HOME={place}", "/usr/bin/python3", "-m", "tracejail", *learn]
    _kill_in_exercise(words, mark, _alone)


def _kill_in_exercise(words: list[str], mark: str, kill: Callable[..., None]) -> None:
    nowhere = subprocess.DEVNULL
    learner = subprocess.Popen(words, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        assert wait_until(lambda: "sleep" in _names(mark))
        time.sleep(0.1)
    finally:
        kill(learner)
        learner.wait(30)
    assert wait_until(lambda: not processes(mark), 3), _names(mark)
    assert wait_until(lambda: not [each for each in processes("tracejail") if _group(each) == learner.pid], 3)


def _names(mark: str) -> set[str]:
    found = set()
    for process in processes(mark):
        with contextlib.suppress(OSError):
            found.add(Path(f"/proc/{process}/comm").read_text().strip())
    return found


def _group(process: int) -> int:
    try:
        return os.getsid(process)
    except ProcessLookupError:
        return 0


def test_one_whose_leash_is_killed_has_failed(tmp_path: Path) -> None:
    """The learner sees it, ends what the exercise started, and says so."""
    mark = f"{os.getpid()}{random.randrange(10**6):06}"
    exercise = f"sleep {mark} & kill -9 $PPID; sleep {mark}"
    words = [*COMMAND, "learn", "--json", "-j", str(tmp_path / "jail"), "--exercise", exercise, "/bin/sleep", "61"]
    done = subprocess.run(words, capture_output=True, timeout=30, check=False)
    assert json.loads(done.stdout)["clean"] is False, done.stdout
    assert wait_until(lambda: not processes(mark), 3)
