"""What a user can do wrong: the status of the table, a line with path and cause, a line with what to do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.tool import COMMAND, tracejail, two_lines


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("learned")
    done = tracejail("learn", "-j", place / "jail", "/bin/true")
    assert done.status == 0, done.err
    return place


ROWS = [
    (2, ["learn", "/no/such/program"]),
    (2, ["learn", "/etc"]),
    (2, ["learn", "{tmp}/empty"]),
    (2, ["learn", "/etc/passwd"]),
    (2, ["learn", "--no-such-option", "/bin/true"]),
    (2, ["learn"]),
    (2, ["learn", "-u", "no-such-user", "/bin/true"]),
    (2, ["learn", "--ready", "moon:full", "/bin/true"]),
    (2, ["learn", "--stop", "SIGNOTHING", "/bin/true"]),
    (2, ["learn", "--from", "{tmp}/nowhere", "/bin/true"]),
    (2, ["learn", "--include", "/no/such", "-j", "{tmp}/x", "/bin/true"]),
    (4, ["learn", "--include", "/etc/shadow", "-j", "{tmp}/x", "/bin/true"]),
    (5, ["learn", "-j", "{tmp}/a-file", "/bin/true"]),
    (2, ["learn", "-j", "{tmp}/full-directory", "/bin/true"]),
    (2, ["learn", "--replace", "-j", "{tmp}/full-directory", "/bin/true"]),
    (2, ["learn", "--append", "-j", "{tmp}/full-directory", "/bin/true"]),
    (2, ["build", "--replace", "{manifest}", "-j", "{tmp}/full-directory"]),
    (5, ["learn", "-j", "{tmp}/nowhere/jail", "/bin/true"]),
    (2, ["verify", "{tmp}/cut.json"]),
    (2, ["verify", "{tmp}/nowhere.json"]),
    (2, ["build", "{tmp}/dots.json", "-j", "{tmp}/x"]),
    (2, ["list", "{tmp}/a-file"]),
    (2, ["why", "{manifest}", "/no/such/path"]),
    (2, ["frobnicate"]),
]


@pytest.mark.parametrize(("status", "words"), ROWS, ids=[" ".join(words) for _, words in ROWS])
def test_two_lines_and_a_status(learned: Path, tmp_path: Path, status: int, words: list[str]) -> None:
    manifest = learned / "jail.json"
    (tmp_path / "empty").touch(mode=0o755)
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "full-directory" / "x").mkdir(parents=True)
    text = manifest.read_text()
    (tmp_path / "cut.json").write_text(text[: len(text) // 2])
    (tmp_path / "dots.json").write_text(text.replace('"/dev/null"', '"/dev/../etc"'))
    before = sorted(os.listdir(tmp_path))
    done = tracejail(*(word.format(tmp=tmp_path, manifest=manifest) for word in words), cwd=tmp_path)
    assert done.status == status, done.err
    two_lines(done)
    assert sorted(os.listdir(tmp_path)) == before, "something half-made was left"


def test_a_full_disk(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command = " ".join(COMMAND)
    learn = f"{command} learn -j {small}/jail /bin/ls"
    script = f"mount -t tmpfs -o size=1m none {small} && {learn}; s=$?; ls -A {small} >&2; exit $s"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert "No space left on device" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr


def test_a_user_where_no_jail_can_be_made(tmp_path: Path) -> None:
    # It may read all files, as the interpreter and the checkout may lie where only root can look.
    reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run(
        ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", *reads, *COMMAND, "learn", "/bin/true"],
        cwd="/", capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("tracejail: /true.jail: Permission denied\n  choose another place"), done.stderr
