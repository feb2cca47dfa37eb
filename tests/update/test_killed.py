"""An update that is killed, or that finds no room: old files or new ones, none torn, and the next one goes on."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

# A child of this process has all loaded that an update takes: so it dies at work, and not while it starts.
import elftools.elf.elffile  # noqa: F401

import tracejail.cli.upkeep
import tracejail.needs
import tracejail.update
from tests.update.conftest import Ground
from tests.update.tree import COMMAND, ENVIRONMENT, call, digest, litter, says, tracejail

KILLS = 200
FILES = 80


def fill(top: Path, word: str) -> None:
    """Files of a package, all of one version; some are there in one of two versions only."""
    data = top / "usr/share/data"
    data.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        (data / f"f{number}").write_bytes(hashlib.sha256(f"{word}{number}".encode()).digest() * (512 if number % 10 else 8192))
    (data / f"only-{word}").write_text(word)


def jailed(jail: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (jail / "usr/share/data").iterdir()}


def forked(*words: str | Path) -> int:
    """A call in a child of this process, which has all of the tool loaded already; its id."""
    child = os.fork()
    if child:
        return child
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115
        sys.stderr = sys.stdout
        status = call(*words)
        os._exit(status)
    finally:
        os._exit(99)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def begun(child: int, upcoming: Path) -> None:
    """Wait until a call makes its files ready, or has ended."""
    while not upcoming.exists() and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.001)


def test_killed_at_any_moment(quick_ground: Ground) -> None:
    ground = quick_ground
    fill(ground.host.top, "a")
    ground.host.upgrade("data", "1", "/usr/share/data/only-a")
    words = ("--from", ground.host.top, "-j", ground.jail, "--include", "/usr/share/data")
    assert tracejail("learn", "--append", *words, "/usr/bin/hello").status == 0
    subprocess.run(["cp", "-a", str(ground.host.top), str(ground.top / "b")], check=True)
    hosts = [ground.host.top, ground.top / "b"]
    fill(hosts[1], "b")
    (hosts[1] / "usr/share/data/only-a").unlink()   # nor does its package list it
    (hosts[1] / "var/lib/dpkg/info/data.list").write_text("")
    (hosts[1] / "usr/share/data/only-b").unlink()   # a file that no entry knows: it does not come
    states = [jailed(ground.jail)]
    lasted, wrote = [], []
    pending, upcoming = ground.top / ".hello.jail.upkeep/pending", ground.top / ".hello.jail.upkeep/next"
    for host in (hosts[1], hosts[0], hosts[1]):
        start = time.monotonic()
        child = forked("update", "--from", host, ground.manifest)
        begun(child, upcoming)
        writes = time.monotonic()
        while upcoming.exists() or pending.exists():
            time.sleep(0.001)
        wrote.append(time.monotonic() - writes)
        assert ended(child) == 0
        lasted.append(time.monotonic() - start)
        states.append(jailed(ground.jail))
    # What has gone from one host does not come again with the other.
    assert states[1] == states[3]
    whole = [{**states[2]}, {**states[1]}]
    last, seconds, writes = hosts[1], min(lasted), min(wrote)
    allowed = {name: {whole[0].get(name), whole[1].get(name)} for name in {*whole[0], *whole[1]}}
    chance = random.Random(7)
    met: Counter[str] = Counter()
    for turn in range(KILLS):
        now = hosts[0] if last == hosts[1] else hosts[1]
        child = forked("update", "--from", now, ground.manifest)
        if turn % 5:   # else before it writes anything, too
            begun(child, upcoming)
            time.sleep(chance.random() * writes)
        else:
            time.sleep(chance.random() * seconds)
        os.kill(child, signal.SIGKILL)
        was = ended(child)
        assert was in (0, -signal.SIGKILL)
        stage = "doing" if pending.exists() else "making ready" if upcoming.exists() else "done" if was == 0 else "other"
        met[stage] += 1
        found = jailed(ground.jail)
        for name, content in found.items():
            assert content in allowed[name], f"{name} is torn"
        assert found.keys() == whole[0].keys()
        json.loads(ground.manifest.read_text())
        assert says(ground.jail) == "hello world\n"
        assert ended(forked("update", "--from", now, ground.manifest)) == 0
        assert jailed(ground.jail) == whole[hosts.index(now)]
        last = now
    assert ended(forked("status", "--full", ground.manifest)) == 0
    assert litter(ground.top) == []
    print(f"kills: {dict(met)}, an update takes {seconds:.2f} s")
    assert met["doing"] + met["making ready"] > KILLS // 2, met


# On a small file system of one's own: what is left free is filled but for so many bytes, the update is called, and all is
# compared. `levels` are kilobytes.
SCRIPT = """
set -e
mount -t tmpfs -o size=24m tmpfs {top}/small
cp -a {top}/hello.jail {top}/hello.jail.json {top}/small/
sed -i 's|"jail": "{top}/|"jail": "{top}/small/|' {top}/small/hello.jail.json
exec {python} {script} {top}
"""


def filled(top: Path) -> None:
    """In the namespace: the update at each level of room."""
    small = top / "small"
    manifest, jail = small / "hello.jail.json", small / "hello.jail"
    before = digest(jail), manifest.read_bytes()
    statuses = Counter()
    level = 0
    while True:
        room = os.statvfs(small)
        ballast = small / "ballast"
        with ballast.open("wb") as stream:
            left = room.f_bavail * room.f_frsize - level * 1024
            stream.write(b"x" * max(left, 0))
        status = ended(forked("update", manifest))
        statuses[status] += 1
        if status == 0:
            break
        assert status == 5, status
        assert (digest(jail), manifest.read_bytes()) == before, level
        assert litter(small) == [], litter(small)
        ballast.unlink()
        level += 48
    ballast.unlink()
    assert ended(forked("status", "--full", manifest)) == 0
    assert digest(jail) != before[0]
    print(json.dumps(statuses))


def test_no_room(ground: Ground) -> None:
    fill(ground.host.top, "a")
    words = ("--from", ground.host.top, "-j", ground.jail, "--include", "/usr/share/data")
    for number in range(12, FILES):
        (ground.host.top / f"usr/share/data/f{number}").unlink()
    assert tracejail("learn", "--append", *words, "/usr/bin/hello").status == 0
    for number in range(12):
        (ground.host.top / f"usr/share/data/f{number}").write_bytes(os.urandom(100_000))
    (ground.top / "small").mkdir()
    script = SCRIPT.format(top=ground.top, python=sys.executable, script=__file__)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script], env={**os.environ, **ENVIRONMENT},
        capture_output=True, text=True, timeout=120, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["5"] > 20, told


def test_killed_and_gone_on_with(ground: Ground) -> None:
    """Stopped in each of the steps in turn: what is committed is finished, by status it is told."""
    ground.host.greet('"patched"')
    ground.host.write("etc/hello.conf", "new\n")
    subprocess.run(["cp", "-a", str(ground.jail), str(ground.top / "kept")], check=True)
    killer = (
        "import os, sys, tracejail.jail.journal as j\n"
        "real, left = j._do, [int(sys.argv[1])]\n"
        "def do(*given):\n"
        "    if not left[0]: os.kill(os.getpid(), 9)\n"
        "    left[0] -= 1\n"
        "    real(*given)\n"
        "j._do = do\n"
        "sys.argv[:] = ['tracejail', 'update', sys.argv[2]]\n"
        "from tracejail.cli.main import main\n"
        "sys.exit(main())\n"
    )
    count = 0
    while True:
        done = subprocess.run(
            [COMMAND[0], "-c", killer, str(count), str(ground.manifest)], env={**os.environ, **ENVIRONMENT}, check=False,
            capture_output=True,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        told = tracejail("status", ground.manifest)
        assert (told.status, "interrupted" in told.out) == (1, True)
        assert "killed" in tracejail("update", "-n", ground.manifest).out
        assert "was finished" in tracejail("update", ground.manifest).out
        assert says(ground.jail) == "patched new\n"
        assert tracejail("status", "--full", ground.manifest).status == 0
        assert litter(ground.top) == []
        assert tracejail("update", "--rollback", ground.manifest).status == 0
        count += 1
    assert count == 2


if __name__ == "__main__":
    filled(Path(sys.argv[1]))
