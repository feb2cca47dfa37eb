"""Each fixture by both engines and under `--restart`: the misses, whether it is clean, the exit status, the manifest."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernel import fixture as fx

_FIXTURES = fx.all_fixtures()
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_SECONDS = 60


def _on_host(fixture: fx.Fixture, place: Path) -> tuple[list[str], set[str]]:
    """Build it and run it on the host: its command, and the miss lines that it states."""
    (place / "bin").mkdir()
    command = [*fx.build(fixture, place / "bin"), str(place / "base")]
    fx.prepare(fixture, place / "base")
    host = subprocess.run(command, env=_ENVIRONMENT, cwd="/", capture_output=True, timeout=_SECONDS, check=False)
    assert host.returncode == fixture.host_status, host.stderr.decode(errors="replace")
    stated = set(host.stdout.decode().splitlines())
    assert stated, "it states no miss"
    return command, stated


def _learn(fixture: fx.Fixture, place: Path, command: list[str], *how: str) -> tuple[dict[str, Any], set[str]]:
    """Learn it on a fresh base; the result, and the miss lines that are its own."""
    base = place / "base"
    fx.prepare(fixture, base)
    options = ["--json", "--replace", "--jail", str(place / "jail"), *fixture.learn, *how]
    environment = {**_ENVIRONMENT, "PYTHONPATH": str(fx.DIRECTORY.parent)}
    learn = subprocess.run(
        [sys.executable, "-m", "tracejail", "learn", *options, *command],
        env=environment, cwd=place, capture_output=True, timeout=4 * _SECONDS, check=False,
    )
    assert learn.stdout, learn.stderr.decode(errors="replace")
    result = json.loads(learn.stdout)
    ended = (result["clean"], result["status"], learn.returncode)
    assert ended == (fixture.status == 0, fixture.status, fixture.status), result
    return result, {fx.plain(line) for line in result["misses"] if fx.is_own(fixture, line, base)}


def _manifest(fixture: fx.Fixture, place: Path) -> list[str]:
    """The manifest's lines, without the times of the base, which is made anew for each run."""
    text = Path(f"{place}/jail.json").read_text()
    text = re.sub(r'"mtime_ns": \d+', '"mtime_ns": 0', text)
    if fixture.first_differs:
        text = re.sub(r'"because": \{[^}]*\}', '"because": {}', text)
    return text.splitlines()


def _check_accounts(fixture: fx.Fixture, place: Path) -> None:
    if fixture.users or fixture.groups:
        kept = json.loads(Path(f"{place}/jail.json").read_text())["accounts"]
        assert (kept["users"], kept["groups"]) == (sorted(fixture.users), sorted(fixture.groups))


@pytest.mark.parametrize("fixture", _FIXTURES, ids=lambda fixture: fixture.source.stem)
def test_both_engines(fixture: fx.Fixture, place: Path) -> None:
    command, stated = _on_host(fixture, place)
    seen = {}
    for engine in ("bpf", "seccomp"):
        result, own = _learn(fixture, place, command, "--engine", engine)
        # Sorted lists, so that a difference shows as the lines that differ.
        assert sorted(own) == sorted(stated), (engine, result)
        _check_accounts(fixture, place)
        lines = _manifest(fixture, place)
        for name in (*fixture.holds, *fixture.lacks):
            found = any(f'"path": "{place}/base/{name}"' in line for line in lines)
            assert found is (name in fixture.holds), (engine, name, lines)
        # What a proving run has to find first was not noticed as used when it was learned.
        assert not fixture.holds or result["rounds"] == 2, (engine, result["rounds"])
        seen[engine] = (result["rounds"], lines)
    assert seen["bpf"] == seen["seccomp"]


@pytest.mark.parametrize("fixture", _FIXTURES, ids=lambda fixture: fixture.source.stem)
def test_restart(fixture: fx.Fixture, place: Path) -> None:
    command, stated = _on_host(fixture, place)
    result, own = _learn(fixture, place, command, "--restart")
    _check_accounts(fixture, place)
    if not fixture.restart_differs:
        assert sorted(own) == sorted(stated), result


def test_there_are_enough_fixtures() -> None:
    assert len(_FIXTURES) >= 45


def test_the_tools_are_there() -> None:
    assert shutil.which("gcc"), "install gcc, gcc-multilib and libc6-dev"
