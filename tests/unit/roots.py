"""What the tests of service units share: small host roots, and units in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tracejail.errors import UsageError
from tracejail.resolve.host import HostRoot
from tracejail.resolve.units import Unit, read_unit

ETC, LIB = "etc/systemd/system", "lib/systemd/system"
Make = Callable[..., HostRoot]


def unit_of(make: Make, service: str, name: str = "a.service", **files: str) -> Unit:
    text = service if "ExecStart=" in service else f"ExecStart=/bin/a\n{service}"
    return read_unit(make(**{f"{LIB}/{name}": f"[Service]\n{text}\n", **files}), name)


def raises(text: str) -> Any:
    return pytest.raises(UsageError, match=text)
