"""A machine that systemd runs as its first process, in a container: the host's files under a layer that is thrown away.

None of the host's units is started, and nothing is left: mounts are in a namespace of their own, control groups are removed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from real import ENVIRONMENT, Result, Site, until

_TARGET = "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\nWants=systemd-journald.service\n"


@dataclass(frozen=True)
class Machine:
    """A machine that runs; `leader` is its first process as the host names it."""

    leader: int

    def run(self, script: str, timeout: float = 60) -> Result:
        """Shell lines in it, as its root."""
        return subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", "/bin/sh", "-c", script], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="surrogateescape", timeout=timeout, check=False,
        )

    def told(self, unit: str) -> str:
        """What the manager and the journal say of a unit."""
        done = self.run(f"systemctl status -l --no-pager {unit}; journalctl -o cat --no-pager -n 50")
        return done.stdout + done.stderr


@contextlib.contextmanager
def machine(site: Site, units: dict[str, Path]) -> Iterator[Machine]:
    """A machine with these unit files."""
    top = site.top / "machine"
    top.mkdir()
    name = f"tracejail-{os.getpid()}"
    groups = _groups(name)
    script = ["set -e", "mount -t tmpfs tmpfs /run", "mkdir /run/systemd", f"mount -t tmpfs tmpfs {top}"]
    script += [f"mkdir {top}/up {top}/work {top}/root"]
    script += [f"mount -t overlay overlay -o lowerdir=/,upperdir={top}/up,workdir={top}/work {top}/root"]
    script += [f"echo $$ >{group}/cgroup.procs" for group in groups]
    at = f"{top}/root/etc/systemd/system"
    script += [f"printf {shlex.quote(_TARGET)} >{at}/box.target"]
    # Nothing of the host's is started: one of these would empty /tmp, where the tests' files are.
    script += [f"rm -rf {top}/root/usr/lib/systemd/system/*.wants {at}/*.wants"]
    script += [f"cp {shlex.quote(str(file))} {at}/{unit}" for unit, file in units.items()]
    # What nspawn would hide is where the tests' files are.
    script += ["export SYSTEMD_NSPAWN_TMPFS_TMP=0"]
    script += [
        f"exec systemd-nspawn -q -D {top}/root --register=no --keep-unit --private-network --link-journal=no -b -M {name} "
        "--console=pipe systemd.unit=box.target"
    ]
    for group in groups:
        group.mkdir()
    log = site.top / "machine.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["unshare", "--mount", "/bin/sh", "-c", "\n".join(script)], cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output,
        )
    leader = 0
    try:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")

        def up() -> bool:
            nonlocal leader
            assert running.poll() is None, log.read_text("utf-8", "replace")
            leader = int((children.read_text().split() or ["0"])[-1])
            return bool(leader) and Machine(leader).run("systemctl is-active box.target").stdout == "active\n"

        until(up, "the machine is up", 30)
        yield Machine(leader)
    finally:
        if leader:
            Machine(leader).run("systemctl --no-block exit 0")
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.terminate()
            running.wait(20)
        for group in groups:
            _remove(group)
        top.rmdir()


def _groups(name: str) -> list[Path]:
    top = Path("/sys/fs/cgroup")
    places = [top / "systemd", top / "unified"] if (top / "systemd").is_dir() else [top]
    return [place / name for place in places if place.is_dir()]


def _remove(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        until(lambda: _gone(directory), f"{directory} is removed", 10)  # noqa: B023


def _gone(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
