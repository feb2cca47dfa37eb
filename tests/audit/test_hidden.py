"""What is hidden from audit, or only looks as if it were nothing: it is found, or it is told that it was not looked at."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.audit.jails import audit, causes, fresh, place, static_program, write
from tests.tool import two_lines
from tracejail import searched, survey
from tracejail.appraise import Appraisal, AuditOptions
from tracejail.audit.facts import Facts, Item, Unseen
from tracejail.audit.rules import weaknesses
from tracejail.audit.weakness import Severity
from tracejail.cli.audit import _verdict
from tracejail.model import EntryType, JailPath
from tracejail.resolve.host import HostNode, HostRoot, inspect, open_host_root
from tracejail.survey import Survey


def test_one_byte_of_a_header() -> None:
    with place() as top:
        jail = fresh(top)
        for at, value, name in ((4, 1, "a"), (5, 2, "b"), (16, 1, "c")):
            data = bytearray(Path("/usr/bin/curl").read_bytes())
            data[at] = value
            write(jail, f"/srv/{name}", bytes(data), 0o755)
        found = causes(audit(top, "--json").json)
        assert {("file-transfer", f"/srv/{name}") for name in "abc"} <= found
        assert {path for rule, path in found if rule == "odd-header"} == {"/srv/a", "/srv/b"}


def _sparse(path: Path, size: int) -> None:
    with open(path, "wb") as stream:
        stream.write(static_program())
        stream.truncate(size)


def test_holes_and_hard_links_use_nothing_up() -> None:
    with place() as top:
        jail = fresh(top)
        (jail / "srv/a").mkdir()
        for number in range(40):
            _sparse(jail / f"srv/a/{number}", 1 << 30)
        with open(jail / "srv/large", "wb") as stream:
            stream.write(static_program() + os.urandom(100 << 20))
        for number in range(100):
            os.link(jail / "srv/large", jail / f"srv/l{number}")
        write(jail, "/srv/z", Path("/bin/bash").read_bytes(), 0o755)
        began = time.monotonic()
        found = causes(audit(top, "--json").json)
        assert time.monotonic() - began < 20   # 2 s on a quiet machine
        assert found == {("shell", "/srv/z")}


def test_a_hole_hides_nothing_behind_it() -> None:
    with place() as top:
        jail = fresh(top)
        data = Path("/bin/bash").read_bytes()
        with open(jail / "srv/x", "wb") as stream:
            stream.write(static_program())
            stream.seek(1 << 34)
            stream.write(data)
        assert causes(audit(top, "--json").json) == {("shell", "/srv/x")}


def test_what_is_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searched, "_LARGEST", 1 << 12)
    write(tmp_path, "/large", static_program(), 0o755)
    write(tmp_path, "/small", static_program()[:4096], 0o755)
    root = open_host_root(str(tmp_path))
    walk = Survey(searched.Search(searched.KnownTools(root), lambda path, start: None, None))
    walk.walk(root)
    os.close(root.fd)
    assert {item.path: (item.contents.unread, item.contents.limit) for item in walk.items} == {
        "/large": ("it is too large", True), "/small": ("", False),
    }


def test_the_rest_of_a_jail_does_not_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_MOST", 3)
    for number in range(5):
        write(tmp_path, f"/{number}", "x")
    root = open_host_root(str(tmp_path))
    walk = Survey(searched.Search(searched.KnownTools(root), lambda path, start: None, None))
    walk.walk(root)
    os.close(root.fd)
    (told,) = walk.clipped
    assert "the rest of the jail" in told.why
    (found,) = [each for each in weaknesses(Facts("/j", tuple(walk.items), clipped=tuple(walk.clipped)))
                if each.rule == "not-looked-at"]
    assert found.severity is Severity.HIGH
    assert all(line.startswith("#") for line in found.remedy)


def test_another_programs_file_system_is_told() -> None:
    with place() as top:
        jail = fresh(top)
        (jail / "proc").mkdir()
        behind = "mount -t proc proc {J}/proc; mount -t tmpfs tmpfs {J}/proc/bus;"
        assert ("not-looked-at", "/proc/bus") in causes(audit(top, "--json", shell=behind).json)
    item = Item("/net/x", EntryType.DIRECTORY, 0o755, 0, 0)
    told = Facts("/j", (item,), clipped=(Unseen("/net/x", "it can't be read", "run it as root"),))
    verdict = _verdict(Appraisal(told, (), 0, 0, 0.0), [], AuditOptions("/j"))
    assert "NOTHING FOUND" not in verdict
    assert "not all" in verdict


def test_a_made_up_file_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    write(tmp_path, "/net/x", "x")
    real = inspect

    def made_up(host: HostRoot, path: JailPath) -> HostNode | None:
        node = real(host, path)
        return node and replace(node, virtual="fuse")

    monkeypatch.setattr(survey, "inspect", made_up)
    root = open_host_root(str(tmp_path))
    walk = Survey(searched.Search(searched.KnownTools(root), lambda path, start: None, None))
    walk.walk(root)
    os.close(root.fd)
    assert [(each.path, each.limit) for each in walk.clipped] == [("/net", True)]


def test_root_is_nobody_in_particular() -> None:
    with place() as top:
        write(fresh(top), "/bin/server", static_program(), 0o755, 33)
        assert ("writable-code", "/bin/server") in causes(audit(top, "--json", "-u", "root").json)


def test_a_fifo_is_no_manifest() -> None:
    with place() as top:
        fresh(top)
        os.mkfifo(top / "fifo")
        for words, target in (([], "/mnt/fifo"), (["-m", "/mnt/fifo"], "/mnt/jail")):
            done = audit(top, *words, target=target)
            assert done.status == 2
            two_lines(done)
