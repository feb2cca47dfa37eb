"""The README shows what the tools say, and not what they once said."""

from __future__ import annotations

from pathlib import Path

from tests.doctor.side_by_side import cases, side_by_side

_TOLD = ("$", "chroot", "doctor")   # how many calls strace counts, and libraries ldd, is the machine's


def test_ten_cases_side_by_side() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8").splitlines()
    lines = list(side_by_side())
    assert len(cases()) == 10
    assert sum(line.startswith("$") for line in lines) == 10
    for line in lines:
        if line.strip().startswith(_TOLD):
            assert f"    {line}" in readme
