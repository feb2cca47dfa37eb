"""What an update leaves as it is, and why: what is gone from the host, what can't be reached, what would not work."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.tool import two_lines

from .conftest import Ground
from .test_update import entries, is_current, needs_more, update
from .tree import LIB, digest, says, tracejail


def test_a_library_that_is_gone_and_nothing_patched(ground: Ground) -> None:
    before = digest(ground.jail)
    for name in ("libgreet.so.1", "libgreet.so.1.0"):
        (ground.host.top / LIB / name).rename(ground.top / name)
    out = update(ground, status=1)
    assert f"KEPT            /{LIB}/libgreet.so.1: gone from host    kept, as /usr/bin/hello needs it still" in out
    assert "current" not in out
    assert digest(ground.jail) == before
    update(ground, "--force", status=1)
    assert says(ground.jail) == "hello world\n"
    ground.host.greet('"again"')
    update(ground)
    assert (says(ground.jail), is_current(ground)) == ("again world\n", True)


def test_a_host_that_is_not_all_there(ground: Ground) -> None:
    before = digest(ground.jail), ground.manifest.read_bytes()
    loader = ground.host.top / LIB / "ld-linux-x86-64.so.2"
    loader.rename(ground.top / "loader")
    for words in ((), ("--force",)):
        done = tracejail("update", *words, ground.manifest)
        assert (done.status, "mounted" in done.err) == (5, True), done.err
        two_lines(done)
    (ground.top / "loader").rename(loader)
    (ground.host.top / "usr/bin").rename(ground.top / "bin")
    shutil.rmtree(ground.host.top / "etc")
    assert tracejail("update", ground.manifest).status == 5
    assert (digest(ground.jail), ground.manifest.read_bytes()) == before


def test_gone_and_there_again(ground: Ground) -> None:
    conf = ground.host.top / "etc/hello.conf"
    conf.unlink()
    for _ in range(2):
        assert "its package has it still" in update(ground, status=1)
    assert not is_current(ground)
    assert says(ground.jail) == "hello world\n"
    conf.write_text("there again\n")
    update(ground)
    assert (says(ground.jail), is_current(ground)) == ("hello there again\n", True)
    conf.unlink()
    update(ground, "--force")
    assert not (ground.jail / "etc/hello.conf").exists()
    assert is_current(ground)


def test_gone_on_both_sides(ground: Ground) -> None:
    (ground.host.top / "etc/hello.conf").unlink()
    (ground.jail / "etc/hello.conf").unlink()
    ground.host.greet('"patched"')
    assert "KEPT" in update(ground, status=1)
    assert not is_current(ground)


def test_what_a_module_needs_is_not_dropped(ground: Ground) -> None:
    """No program names the library: only the module does, which was patched some time ago."""
    ground.host.compile("int module(void) { return 1; }", f"{LIB}/module.so", "-shared", "-fPIC")
    words = ("--from", ground.host.top, "-j", ground.jail, "--include", f"/{LIB}/module.so")
    assert tracejail("learn", "--append", *words, "/usr/bin/hello").status == 0
    ground.host.library("libextra.so.2", "0", 'const char *extra(void) { return "more"; }')
    ground.host.compile(
        "const char *extra(void); const char *module(void) { return extra(); }", f"{LIB}/module.so", "-shared", "-fPIC",
        f"{ground.host.top}/{LIB}/libextra.so.2.0",
    )
    ground.host.settle()
    update(ground)
    assert (ground.jail / LIB / "libextra.so.2").exists()
    ground.host.greet('"patched"')
    update(ground)
    assert (ground.jail / LIB / "libextra.so.2").exists()
    (ground.host.top / LIB / "libextra.so.2").unlink()
    (ground.host.top / LIB / "libextra.so.2.0").unlink()
    assert "module.so needs it still" in update(ground, "--force", status=1)


def test_a_directory_that_the_daemon_made_a_link(ground: Ground, tmp_path: Path) -> None:
    (ground.jail / "etc").rename(tmp_path / "etc")
    (ground.jail / "etc").symlink_to(tmp_path / "etc")
    ground.host.greet('"patched"')
    ground.host.write("etc/hello.conf", "new\n")
    before = digest(tmp_path)
    out = update(ground, status=1)
    assert "KEPT            /etc/hello.conf: other shape    /etc is no directory in the jail" in out
    assert "replaced" in out
    assert b"patched" in (ground.jail / LIB / "libgreet.so.1.0").read_bytes()
    assert digest(tmp_path) == before
    (ground.jail / "etc").unlink()
    shutil.move(tmp_path / "etc", ground.jail / "etc")
    update(ground)
    assert (says(ground.jail), is_current(ground)) == ("patched new\n", True)


def test_a_patch_of_what_was_changed_in_the_jail_is_not_forgotten(ground: Ground) -> None:
    (ground.jail / "etc/hello.conf").write_text("intruder\n")
    ground.host.write("etc/hello.conf", "new\n")
    ground.host.greet('"patched"')
    for _ in range(2):
        out = update(ground, status=1)
        assert "files are current" not in out
        told = tracejail("status", ground.manifest).out
        assert "patched         /etc/hello.conf" in told
        assert "changed in jail /etc/hello.conf" in told
    assert says(ground.jail) == "patched intruder\n"


def test_another_mode_keeps_no_patch_out(ground: Ground) -> None:
    conf = ground.jail / "etc/hello.conf"
    conf.chmod(0o640)
    os.chown(conf, 1, 1)
    ground.host.write("etc/hello.conf", "new\n")
    assert "KEPT            /etc/hello.conf: changed in jail" in update(ground, status=1)
    status = conf.stat()
    assert (conf.read_text(), status.st_mode & 0o7777, status.st_uid, status.st_gid) == ("new\n", 0o640, 1, 1)
    update(ground, "--force")
    assert (conf.stat().st_mode & 0o7777, conf.stat().st_uid, is_current(ground)) == (0o644, 0, True)


def test_a_library_whose_need_can_not_come_stays_the_old_one(ground: Ground) -> None:
    needs_more(ground)
    ground.host.write("etc/hello.conf", "new\n")
    hidden = ground.host.top / LIB / "libextra.so.2"
    hidden.unlink()
    out = update(ground, status=1)
    assert f"/{LIB}/libgreet.so.1.0: patched    the old one is kept, as the new one needs libextra.so.2" in out
    assert says(ground.jail) == "hello new\n"
    assert entries(ground)[f"/{LIB}/libgreet.so.1.0"]["version"] == "1.0-1"
    hidden.symlink_to("libextra.so.2.0")
    (ground.jail / LIB / "libextra.so.2.0").write_text("of its own")   # in the way
    out = update(ground, status=1)
    assert "something of its own there" in out
    assert says(ground.jail) == "hello new\n"
    assert f"/{LIB}/libextra.so.2" not in entries(ground)
    update(ground, "--force")
    assert (says(ground.jail), is_current(ground)) == ("more new\n", True)
