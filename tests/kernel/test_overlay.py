"""Jails on an overlayfs whose layers are on different devices: each file has another st_dev than its directory, and none of
them is a mount point."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.tool import COMMAND, Done, run_words

_TRACEJAIL = shlex.join(COMMAND)
_OVERLAY = """
mount -t tmpfs -o size=256m none upper; mount -t tmpfs -o size=256m none lower
mkdir upper/u upper/w lower/old lower/old/etc
echo one >lower/old/etc/first; ln lower/old/etc/first lower/old/etc/second; cp /usr/bin/true lower/old/true
mount -t overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w none merged
"""
_COPY = """
import os, sys
from tracejail.jail.copy import copy_tree
from tracejail.jail.tree import look, open_tree
source, target = (os.open(path, os.O_RDONLY) for path in sys.argv[1:])
copy_tree(source, open_tree(target, "copy"), {})
print(*(look(open_tree(source, "source"), path).foreign for path in ("/etc/first", "/mounted", "/mounted/in", "/file")))
"""
_REMOVE = """
import os, sys
from tracejail.jail.remove import remove_tree
try:
    remove_tree(os.open("merged", os.O_RDONLY), "jail")
except OSError as error:
    print(error.strerror, error.filename)
"""
_WRITTEN = """
import os
from tracejail.trial.written import state_of, written
root = os.open("merged", os.O_RDONLY)
before = state_of(root)
os.mkdir("merged/jail")
with open("merged/old/true", "ab") as stream:
    stream.write(b"more")
os.mkdir("merged/old/etc/new")
print(*(place.path for place in written(before, root)))
"""


@pytest.fixture
def where(tmp_path: Path) -> Path:
    for name in ("upper", "lower", "merged", "copy"):
        (tmp_path / name).mkdir()
    return tmp_path


def _on_overlay(where: Path, script: str) -> Done:
    """Run a script where there is such an overlay, in `merged`."""
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"cd {where}\n{_OVERLAY}\n{script}"]
    return run_words(words, cwd=where)


def _python(program: str, *words: str) -> str:
    return shlex.join([sys.executable, "-c", program, *words])


def test_the_devices_differ(where: Path) -> None:
    done = _on_overlay(where, "touch merged/new; stat -c %d merged merged/new merged/old/etc/first")
    assert len(set(done.out.split())) == 3, done.out + done.err


@pytest.mark.parametrize("engine", ["bpf", "seccomp"])
def test_learn_and_replace_and_verify(where: Path, engine: str) -> None:
    learn = f"{_TRACEJAIL} learn --json --engine {engine} -j merged/jail"
    script = f"{learn} sh -c 'cat /etc/hostname; ls /usr/bin/id' >first\n"
    script += f"{learn} --replace sh -c 'cat /etc/hostname; ls /usr/bin/id' >second\n"
    script += f"{_TRACEJAIL} verify --json merged/jail.json; chroot merged/jail /usr/bin/ls /usr/bin"
    done = _on_overlay(where, script)
    assert done.status == 0, done.out + done.err
    for name in ("first", "second"):
        result = json.loads((where / name).read_text())
        assert (result["clean"], result["missing"]) == (True, []), result
    assert "id" in done.out.split()


def test_a_jail_that_is_there_is_adopted(where: Path) -> None:
    adopt = f"{_TRACEJAIL} adopt --from host -m jail.json merged/old /true"
    done = _on_overlay(where, f"cp -a merged/old host; {adopt}; cat jail.json >&2")
    assert done.status == 0, done.out + done.err
    assert "something is mounted there" not in done.out
    assert {"/etc", "/etc/first", "/etc/second", "/true"} <= {entry["path"] for entry in json.loads(done.err)["entries"]}


def test_a_copy_has_all_but_what_is_mounted(where: Path) -> None:
    script = "mkdir merged/old/mounted; touch merged/old/file merged/old/own\n"
    script += "mount -t tmpfs none merged/old/mounted; touch merged/old/mounted/in; mount --bind lower/old/true merged/old/file\n"
    script += _python(_COPY, "merged/old", "copy") + "\nfind copy -mindepth 1 | sort; stat -c %i copy/etc/* | uniq | wc -l"
    done = _on_overlay(where, script)
    assert done.out.split() == [
        "False", "True", "True", "True",
        "copy/etc", "copy/etc/first", "copy/etc/second", "copy/own", "copy/true", "1",
    ], done.out + done.err


def test_what_is_written(where: Path) -> None:
    done = _on_overlay(where, _python(_WRITTEN))
    assert done.out.split() == ["/", "/old/etc", "/old/true"], done.out + done.err


def test_a_removal_stops_at_a_mount(where: Path) -> None:
    script = "mkdir -p merged/jail/a/b; touch merged/jail/a/f; mount -t tmpfs none merged/jail/a; touch merged/jail/a/kept\n"
    script += _python(_REMOVE) + "\nls merged/jail/a; umount merged/jail/a\n" + _python(_REMOVE) + "\nls merged"
    done = _on_overlay(where, script)
    assert done.out.split("\n") == ["is a mount point a", "kept", "old", ""], done.out + done.err
