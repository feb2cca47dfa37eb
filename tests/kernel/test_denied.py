"""What may not come into a jail stays out of it however it is met: by a look after a listing, or by a user who may not read
it. It is listed as denied, and the run goes on."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tool import Done, run_words, tracejail

_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----\n"
_USER = 12345


def _denied(done: Done) -> dict[str, str]:
    assert done.status == 0, done.out + done.err
    return {note["path"]: note["reason"] for note in done.json["denied"]}


@pytest.mark.parametrize("options", [[], ["--restart"], ["--engine", "seccomp"]])
def test_a_key_that_is_looked_at_in_a_listing(place: Path, options: list[str]) -> None:
    files = place / "files"
    files.mkdir()
    (files / "key").write_text(_KEY)
    (files / "plain").write_text("x" * 42)
    done = tracejail("learn", "--json", *options, "-j", place / "jail", "/bin/ls", "-l", files)
    assert f"{files}/key" in _denied(done) and f"{files}/plain" not in _denied(done)
    entries = {entry["path"]: entry for entry in json.loads((place / "jail.json").read_text())["entries"]}
    assert entries.get(f"{files}/key", {}).get("content", "empty") == "empty"
    inside = Path(f"{place}/jail{files}")
    assert not (inside / "key").exists() or not (inside / "key").read_text()
    assert (inside / "plain").read_text() == "x" * 42
    allowed = ["--replace", "--allow", f"{files}/key", "-j", place / "jail"]
    assert not _denied(tracejail("learn", "--json", *options, *allowed, "/bin/ls", "-l", files))
    assert (inside / "key").read_text() == _KEY


@pytest.fixture
def plain(place: Path) -> list[str]:
    """The words that call the tool as a plain user."""
    code = place / "code"
    shutil.copytree(Path(__file__).resolve().parents[2] / "tracejail", code / "tracejail")
    for name in ("elftools", "ptrace", "tabulate"):
        shutil.copytree(Path(str(importlib.import_module(name).__file__)).parent, code / name)
    subprocess.run(["chmod", "-R", "a+rX", code], check=True)
    (place / "home").mkdir()
    os.chown(place / "home", _USER, _USER)
    user = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    return [*user, "env", f"PYTHONPATH={code}", f"HOME={place}/home", "/usr/bin/python3", "-m", "tracejail"]


@pytest.mark.parametrize("options", [[], ["--restart"], ["--include"]])
@pytest.mark.parametrize(
    "command",
    ["ls -l {0}", "ls -lR {0}; true", "cat {0}/*; true", "cat {0}/empty; cat {0}/shut/in; cat {0}/full; true",
     "mkdir -p {0}/shut", "for f in {0}/*; do test -e $f || exit 1; done", "{0}/program"],
)
def test_what_a_plain_user_may_not_read(place: Path, plain: list[str], command: str, options: list[str]) -> None:
    files = place / "files"
    (files / "shut").mkdir(parents=True)
    for name, text in (("empty", ""), ("full", "x" * 99), ("shut/in", "x"), ("open", "x")):
        (files / name).write_text(text)
        (files / name).chmod(0o644 if name == "open" else 0o600)
    (files / "shut").chmod(0o700)
    shutil.copy("/bin/true", files / "program")
    (files / "program").chmod(0o711)
    more = [*options, str(files)] if options == ["--include"] else options
    jail = place / "home" / "jail"
    words = [*plain, "learn", "--json", "-j", str(jail), *more, "/bin/sh", "-c", command.format(files)]
    done = run_words(words, cwd=place / "home")
    assert done.status in (0, 1, 3, 4), done.out + done.err
    reasons = {note["path"]: note["reason"] for note in done.json["denied"]}
    asked = [name for name in ("empty", "full") if f"{{0}}/{name}" in command] or (["full"] if "-l" in command else [])
    assert {f"{files}/{name}" for name in asked} <= set(reasons) or options == ["--include"], reasons
    entries = json.loads((place / "home" / "jail.json").read_text())["entries"]
    closed = {f"{files}/{name}" for name in ("empty", "full", "shut/in", "program")}
    assert not [entry for entry in entries if entry["path"] in closed and entry.get("content", "host") == "host"]
