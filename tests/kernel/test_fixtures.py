"""Each fixture under `learn` and `learn --restart`: the misses, whether it is clean, and the exit status."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import fixture as fx

_FIXTURES = fx.all_fixtures()
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_SECONDS = 60


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that any user may search, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="tracejail-fixture."))
    directory.chmod(0o755)
    yield directory
    subprocess.run(["rm", "-rf", "--", directory], check=True)


@pytest.mark.parametrize("manner", ["answer", "restart"])
@pytest.mark.parametrize("fixture", _FIXTURES, ids=lambda fixture: fixture.source.stem)
def test_fixture(fixture: fx.Fixture, manner: str, place: Path) -> None:
    (place / "bin").mkdir()
    base = place / "base"
    command = [*fx.build(fixture, place / "bin"), str(base)]

    fx.prepare(fixture, base)
    host = subprocess.run(command, env=_ENVIRONMENT, cwd="/", capture_output=True, timeout=_SECONDS, check=False)
    assert host.returncode == fixture.host_status, host.stderr.decode(errors="replace")
    stated = set(host.stdout.decode().splitlines())
    assert stated, "it states no miss"

    fx.prepare(fixture, base)
    options = ["--json", "--jail", str(place / "jail"), *fixture.learn, *(["--restart"] if manner == "restart" else [])]
    environment = {**_ENVIRONMENT, "PYTHONPATH": str(fx.DIRECTORY.parent)}
    learn = subprocess.run(
        [sys.executable, "-m", "tracejail", "learn", *options, *command],
        env=environment, cwd=place, capture_output=True, timeout=4 * _SECONDS, check=False,
    )
    assert learn.stdout, learn.stderr.decode(errors="replace")
    result = json.loads(learn.stdout)
    seen = {fx.plain(line) for line in result["misses"] if fx.is_own(fixture, line, base)}
    # Sorted lists, so that a difference shows as the lines that differ.
    if not (manner == "restart" and fixture.restart_differs):
        assert sorted(seen) == sorted(stated), result
    ended = (result["clean"], result["status"], learn.returncode)
    assert ended == (fixture.status == 0, fixture.status, fixture.status), result


def test_there_are_enough_fixtures() -> None:
    assert len(_FIXTURES) >= 45


def test_the_tools_are_there() -> None:
    assert shutil.which("gcc"), "install gcc, gcc-multilib and libc6-dev"
