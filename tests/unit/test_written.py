"""What a target wrote to, by the tree that it was given and the tree that it left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tracejail.model import Use
from tracejail.trial.written import state_of, use_of, written

_Change = Callable[[Path], object]


def _changes(tmp_path: Path, change: _Change) -> list[tuple[str, str]]:
    before, after = tmp_path / "before", tmp_path / "after"
    for directory in ("etc", "var/lib/app", "run"):
        (before / directory).mkdir(parents=True)
    (before / "var/lib/app/data").write_text("old")
    (before / "etc/link").symlink_to("/var/lib")
    for path in (*before.rglob("*"), before):
        os.utime(path, (1, 1), follow_symlinks=False)
    shutil.copytree(before, after, symlinks=True)
    change(after)
    roots = [os.open(path, os.O_RDONLY) for path in (before, after)]
    try:
        return [(place.path, place.use.value) for place in written(state_of(roots[0]), roots[1])]
    finally:
        for root in roots:
            os.close(root)


def _replace_by_link(tree: Path) -> None:
    shutil.rmtree(tree / "run")
    (tree / "run").symlink_to("/var")


@pytest.mark.parametrize(
    ("change", "places"),
    [
        (lambda tree: None, []),
        (lambda tree: (tree / "run/pid").write_text("1"), [("/run", "run")]),
        (lambda tree: ((tree / "run/pid").write_text("1"), (tree / "run/pid").unlink()), [("/run", "run")]),
        (lambda tree: (tree / "var/lib/app/data").write_text("new"), [("/var/lib/app/data", "state")]),
        (lambda tree: (tree / "var/lib/app/data").unlink(), [("/var/lib/app", "state")]),
        (lambda tree: (tree / "etc/new").mkdir(), [("/etc", "other")]),
        (lambda tree: (tree / "new").mkdir(), [("/", "other")]),
        # What lies beyond a link that was put in a directory's place is not looked at.
        (_replace_by_link, [("/", "other")]),
    ],
)
def test_changes(tmp_path: Path, change: _Change, places: list[tuple[str, str]]) -> None:
    assert _changes(tmp_path, change) == places


def test_use_is_told_by_the_longest_prefix() -> None:
    assert [use_of(path) for path in ("/var/lib/x", "/var/log", "/var/logs", "/tmp/a/b", "/")] == [
        Use.STATE, Use.LOG, Use.OTHER, Use.TEMPORARY, Use.OTHER,
    ]
