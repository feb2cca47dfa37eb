"""What the tests with fixture programs share."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that any user may search, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="tracejail-fixture."))
    directory.chmod(0o755)
    yield directory
    subprocess.run(["rm", "-rf", "--", directory], check=True)
