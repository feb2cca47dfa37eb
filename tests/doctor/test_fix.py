"""Causes one behind the other: all are found in one call, and nothing is done to the jail that is not asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.jails import by_chroot, digest, empty_jail, put, script
from tests.tool import tracejail

_COMMAND = ("/start.sh",)


def _no_loader(jail: Path) -> None:
    (jail / "lib64").unlink()


def _no_interpreter(jail: Path) -> None:
    (jail / "usr/bin/dash").unlink()


def _no_x_bit(jail: Path) -> None:
    (jail / "start.sh").chmod(0o644)


def _no_library(jail: Path) -> None:
    for place in jail.rglob("libselinux.so.1"):
        place.unlink()


def _no_program(jail: Path) -> None:
    (jail / "usr/bin/ls").unlink()


def _no_file(jail: Path) -> None:
    (jail / "etc/os-release").unlink()


def _no_directory(jail: Path) -> None:
    (jail / "var/log").rmdir()


BREAKS: dict[str, Callable[[Path], None]] = {
    "loader link": _no_loader, "interpreter": _no_interpreter, "x bit": _no_x_bit, "library": _no_library,
    "program": _no_program, "file": _no_file, "directory": _no_directory,
}
PAIRS = list(itertools.combinations(BREAKS, 2))[:20]
# What the causes and their remedies name; one remedy may bring what another cause is about.
NAMES = {
    "loader link": "lib64", "interpreter": "dash", "x bit": "start.sh", "library": "libselinux.so.1", "program": "bin/ls",
    "file": "etc/os-release", "directory": "var/log",
}


def _build(jail: Path) -> None:
    put(jail, "/bin/dash", "/bin/ls", "/bin/cat")
    script(jail, "/start.sh", "#!/bin/dash\nset -e\nls /dev\ncat /etc/os-release\necho hi > /var/log/x\n")
    script(jail, "/etc/os-release", "NAME=Debian\n", 0o644)
    (jail / "var/log").mkdir(parents=True)


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_causes(pair: tuple[str, str]) -> None:
    with empty_jail() as jail:
        _build(jail)
        for name in pair:
            BREAKS[name](jail)
        before = digest(jail)
        done = tracejail("doctor", "--fix", "-j", jail, "--json", *_COMMAND, cwd=Path("/"))
        assert digest(jail) == before
        told = done.json
        assert done.status == 0, told
        words = " ".join(" ".join((cause["message"], *cause["remedy"])) for cause in told["causes"])
        assert all(NAMES[name] in words for name in pair), words
        assert 1 <= len(told["causes"]) <= 2, words
        assert told["runs"] <= 3
        assert by_chroot(jail, _COMMAND).status != 0
        applied = tracejail("doctor", "--apply", "-j", jail, "--json", *_COMMAND, cwd=Path("/"))
        assert applied.status == 0
        seen = by_chroot(jail, _COMMAND)
        assert seen.status == 0, seen.err
        assert "Debian" in seen.out or "NAME" in seen.out


def test_seven_causes() -> None:
    with empty_jail() as jail:
        _build(jail)
        for name in ("program", "file", "directory", "library", "x bit", "interpreter", "loader link"):
            if name != "library":
                BREAKS[name](jail)
        done = tracejail("doctor", "--apply", "-j", jail, *_COMMAND, cwd=Path("/"))
        assert done.status == 0, done.out
        assert "IT LIVES" in done.out
        assert by_chroot(jail, _COMMAND).status == 0


def test_a_secret_is_not_brought_by_a_cure() -> None:
    with empty_jail() as jail:
        put(jail, "/bin/cat")
        done = tracejail("doctor", "--apply", "-j", jail, "--json", "/bin/cat", "/etc/shadow", cwd=Path("/"))
        assert done.status != 0
        assert not (jail / "etc/shadow").exists()
        assert any("--allow /etc/shadow" in note for note in done.json["notes"])
