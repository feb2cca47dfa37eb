"""A first guess, and what becomes of it when something is learned."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from nouns import entry, manifest

from tracejail.errors import ManifestError
from tracejail.guessed import completed, first_guess, is_guess, lost_arguments, proven
from tracejail.model import Command
from tracejail.resolve.host import open_host_root


def test_what_is_learned_later_counts(tmp_path: Path) -> None:
    for name in ("gone", "kept", "changed"):
        (tmp_path / name).write_text(name)
    (tmp_path / "gone").unlink()
    host = open_host_root(os.fspath(tmp_path))
    old, new = "0" * 64, "1" * 64
    guess = replace(
        manifest(entry("/changed", sha256=old), entry("/gone", sha256=old), entry("/kept", sha256=old, hard_link="/gone")),
        clean=False, warnings=(first_guess("/bin/x"), lost_arguments("x: y")), command=Command(("/bin/x",)),
    )
    later = replace(manifest(entry("/changed", sha256=new)), command=Command(("/bin/x", "-f")), warnings=())
    both = completed(guess, later, host)
    assert {each.path: (each.sha256, each.hard_link) for each in both.entries} == {"/changed": (new, ""), "/kept": (old, "")}
    assert both.command.argv == ("/bin/x", "-f")
    assert is_guess(both)
    assert not both.clean
    assert proven(both).warnings == ()
    assert proven(both).clean


def test_what_is_no_guess_is_not_overruled(tmp_path: Path) -> None:
    first = manifest(entry("/changed", sha256="0" * 64))
    assert not is_guess(first)
    with pytest.raises(ManifestError):
        completed(first, manifest(entry("/changed", sha256="1" * 64)), open_host_root(os.fspath(tmp_path)))
