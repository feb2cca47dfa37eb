"""Each fixture on the host by itself: it builds, gets what it wants, states well-formed lines and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.kernel import fixture as fx

_LINE = re.compile(r"(absent|interpreter|listing|socket|create|denied) [a-z][a-z0-9_]* .+")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_SECONDS = 60


def processes_with(text: str) -> list[str]:
    """The processes whose command line names this text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            if text.encode() in words:
                found.append(entry.name)
    return found


@pytest.mark.parametrize("fixture", fx.all_fixtures(), ids=lambda fixture: fixture.source.stem)
def test_fixture_on_the_host(fixture: fx.Fixture, place: Path) -> None:
    (place / "bin").mkdir()
    base = place / "base"
    command = [*fx.build(fixture, place / "bin"), str(base)]
    fx.prepare(fixture, base)
    run = subprocess.run(command, env=_ENVIRONMENT, cwd="/", capture_output=True, timeout=_SECONDS, check=False)
    assert run.returncode == fixture.host_status, run.stderr.decode(errors="replace")
    lines = os.fsdecode(run.stdout).splitlines()
    assert lines, "it states no miss"
    assert [line for line in lines if not _LINE.fullmatch(line)] == []
    assert len(set(lines)) == len(lines), "a line is stated twice"
    assert processes_with(os.fspath(base)) == []
