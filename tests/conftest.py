"""What no test may do: change the machine's own configuration or devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def _state() -> dict[str, tuple[int, ...]]:
    """Type, owner, mode, size and time of all beneath /etc, and type and number of the devices."""
    state: dict[str, tuple[int, ...]] = {}
    for top, _, names in os.walk("/etc"):
        for name in names:
            path = os.path.join(top, name)
            status = os.lstat(path)
            state[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)
    for path in Path("/dev").iterdir():
        status = path.lstat()
        state[str(path)] = (status.st_mode, status.st_rdev)
    return state


@pytest.fixture(scope="session", autouse=True)
def machine_is_as_it_was() -> Iterator[None]:
    before = _state()
    yield
    after = _state()
    assert {path: state for path, state in after.items() if before.get(path) != state} == {}
    assert sorted(set(before) - set(after)) == []
