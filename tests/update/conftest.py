"""A learned jail with its host, copied for each test; all of it gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .tree import Host, learn


@dataclass
class Ground:
    """A place of one's own: `host` is the tree that the jail was learned from."""

    top: Path
    host: Host
    jail: Path
    manifest: Path


@pytest.fixture(scope="session")
def learned() -> Iterator[Path]:
    top = Path(tempfile.mkdtemp(prefix="tracejail-update-"))
    try:
        learn(Host(top / "host"), top / "hello.jail")
        yield top
    finally:
        shutil.rmtree(top)


@pytest.fixture
def ground(learned: Path) -> Iterator[Ground]:
    """A fresh copy."""
    with copied(learned, None) as fresh:
        yield fresh


@pytest.fixture
def quick_ground(learned: Path) -> Iterator[Ground]:
    """The same in memory, where nothing waits for what others write to the disk."""
    with copied(learned, "/dev/shm") as fresh:
        yield fresh


@contextlib.contextmanager
def copied(learned: Path, where: str | None) -> Iterator[Ground]:
    top = Path(tempfile.mkdtemp(prefix="tracejail-update-", dir=where))
    try:
        subprocess.run(["cp", "-a", f"{learned}/.", str(top)], check=True)
        manifest = top / "hello.jail.json"
        manifest.write_text(manifest.read_text().replace(str(learned), str(top)))
        yield Ground(top, Host.there(top / "host"), top / "hello.jail", manifest)
    finally:
        shutil.rmtree(top)
