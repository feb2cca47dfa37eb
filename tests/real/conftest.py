"""A site per test: removed afterwards, with nothing left in it that is mounted or alive."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from private_host import PrivateHost
from real import Site


def _processes_in(top: str) -> list[str]:
    """Processes whose root, directory or program is beneath `top`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for link in ("root", "cwd", "exe"):
            try:
                target = os.readlink(process / link)
            except OSError:
                continue
            if target.startswith(top + "/"):
                found.append(f"{process.name} {link} {target}")
    return found


@pytest.fixture
def site() -> Iterator[Site]:
    assert os.geteuid() == 0, "these tests need root"
    top = tempfile.mkdtemp(prefix="tracejail-real-")
    os.chmod(top, 0o755)
    try:
        made = Site(Path(top))
        made.fresh(None)
        yield made
        end = time.monotonic() + 10  # a server that was told to stop may take a moment
        while (left := _processes_in(top)) and time.monotonic() < end:
            time.sleep(0.1)
        mounts = [line for line in Path("/proc/self/mounts").read_text("utf-8").splitlines() if top in line]
        strays = sorted(name for name in os.listdir(top) if name.startswith("."))
        assert (left, mounts, strays) == ([], [], [])
    finally:
        shutil.rmtree(top)


@pytest.fixture
def host() -> Iterator[PrivateHost]:
    private = PrivateHost()
    try:
        yield private
    finally:
        private.end()
