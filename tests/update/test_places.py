"""Names that lead elsewhere: manifests that are links, moved or no files at all, jails of another name; and attributes."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

from tests.tool import two_lines

from .conftest import Ground
from .test_update import is_current, update
from .tree import COMMAND, ENVIRONMENT, LIB, litter, says, tracejail

# CAP_NET_BIND_SERVICE, permitted and effective; CAP_CHOWN.
BIND = bytes.fromhex("0100000200040000000000000000000000000000")
CHOWN = bytes.fromhex("0100000201000000000000000000000000000000")
NAME = "security.capability"


def killed(ground: Ground, point: str = "tracejail.committed._put_manifest") -> None:
    """An update that is killed before its manifest is in its place."""
    module, _, name = point.rpartition(".")
    script = (
        f"import os, sys, {module} as m\nm.{name} = lambda *given: os.kill(os.getpid(), 9)\n"
        "sys.argv[:] = ['tracejail', 'update', sys.argv[1]]\nfrom tracejail.cli.main import main\nmain()\n"
    )
    words = [COMMAND[0], "-c", script, str(ground.manifest)]
    assert subprocess.run(words, env={**os.environ, **ENVIRONMENT}, check=False).returncode == -9


def test_capabilities_outlive_another_owner(ground: Ground) -> None:
    os.setxattr(ground.host.top / "usr/bin/hello", NAME, BIND)
    words = ("--from", ground.host.top, "-j", ground.jail)
    assert tracejail("learn", "--replace", *words, "/usr/bin/hello").status == 0
    hello = ground.jail / "usr/bin/hello"
    assert os.getxattr(hello, NAME) == BIND
    os.chown(ground.host.top / "usr/bin/hello", 0, 1)
    (ground.host.top / "usr/bin/hello").chmod(0o750)
    os.setxattr(ground.host.top / "usr/bin/hello", NAME, BIND)
    update(ground)
    assert (hello.stat().st_gid, hello.stat().st_mode & 0o7777, os.getxattr(hello, NAME)) == (1, 0o750, BIND)
    assert is_current(ground)
    update(ground, "--rollback")
    assert (hello.stat().st_gid, os.getxattr(hello, NAME)) == (0, BIND)


def test_capabilities_of_an_intruder_go_by_force(ground: Ground) -> None:
    assert is_current(ground)
    os.setxattr(ground.jail / "usr/bin/hello", NAME, CHOWN)
    assert "extended attributes" in tracejail("status", "--full", ground.manifest).out
    assert "KEPT" in update(ground, "--full", status=1)
    update(ground, "--full", "--force")
    assert NAME not in os.listxattr(ground.jail / "usr/bin/hello")
    assert is_current(ground)


def test_set_id_bits_that_the_host_dropped(ground: Ground) -> None:
    (ground.host.top / "usr/bin/hello").chmod(0o4755)
    words = ("--from", ground.host.top, "-j", ground.jail, "--allow", "/usr/bin/hello")
    assert tracejail("learn", "--replace", *words, "/usr/bin/hello").status == 0
    assert (ground.jail / "usr/bin/hello").stat().st_mode & 0o7777 == 0o4755
    (ground.host.top / "usr/bin/hello").chmod(0o755)
    update(ground)
    assert (ground.jail / "usr/bin/hello").stat().st_mode & 0o7777 == 0o755


def test_a_manifest_that_is_a_link(ground: Ground) -> None:
    (ground.top / "kept").mkdir()
    real = ground.top / "kept/web.json"
    ground.manifest.rename(real)
    ground.manifest.symlink_to("kept/web.json")
    os.chown(real, 1, 1)
    real.chmod(0o640)
    before = real.read_bytes()
    ground.host.greet('"patched"')
    update(ground)
    assert ground.manifest.is_symlink()
    status = real.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_nlink) == (0o640, 1, 1, 1)
    assert is_current(ground)
    with real.open("ab") as stream:   # whoever edits it in its place changes nothing of what is kept
        stream.write(b" ")
    update(ground, "--rollback", "--force")
    assert (ground.manifest.is_symlink(), real.read_bytes()) == (True, before)


def test_what_is_kept_of_the_manifest_was_changed(ground: Ground) -> None:
    ground.host.greet('"patched"')
    update(ground)
    with (ground.top / ".hello.jail.upkeep/former/before.json").open("ab") as stream:
        stream.write(b" ")
    after = ground.manifest.read_bytes()
    done = tracejail("update", "--rollback", ground.manifest)
    assert (done.status, "was changed" in done.err) == (5, True)
    two_lines(done)
    assert (says(ground.jail), ground.manifest.read_bytes()) == ("patched world\n", after)


def test_a_manifest_that_was_moved_after_a_kill(ground: Ground) -> None:
    ground.host.greet('"patched"')
    killed(ground)
    other = ground.top / "other.json"
    ground.manifest.rename(other)
    assert "was finished" in tracejail("update", other).out
    assert says(ground.jail) == "patched world\n"
    assert tracejail("update", "--rollback", other).status == 0
    assert says(ground.jail) == "hello world\n"


def test_while_it_is_interrupted_nothing_else_is_told(ground: Ground) -> None:
    ground.host.greet('"patched"')
    ground.host.write("etc/hello.conf", "new\n")
    killed(ground)
    row = tracejail("status", "--json", ground.manifest).json["jails"][0]["drift"]
    assert [each["kind"] for each in row] == ["interrupted"]
    for words in (("-n",), ("--rollback", "-n")):
        done = tracejail("update", *words, ground.manifest)
        assert (done.status, done.out.count("\n")) == (1, 1), done.out
        assert f"tracejail update {ground.manifest} finishes it" in done.out
    assert tracejail("update", ground.manifest).status == 0
    assert litter(ground.top) == []


def test_another_name_of_the_jail(ground: Ground) -> None:
    alias = ground.top / "alias"
    alias.mkdir()
    (alias / "web").symlink_to(ground.jail)
    ground.manifest.write_text(ground.manifest.read_text().replace(f'"{ground.jail}"', f'"{alias}/web"'))
    ground.host.greet('"patched"')
    update(ground)
    assert [path.name for path in alias.iterdir()] == ["web"]
    assert (ground.top / ".hello.jail.upkeep/former").is_dir()
    update(ground, "-j", str(ground.jail), "--rollback")
    assert says(ground.jail) == "hello world\n"


def test_a_jail_that_is_not_the_manifests(ground: Ground) -> None:
    second = ground.top / "second"
    assert tracejail("build", ground.manifest, "-j", second).status == 0
    ground.host.greet('"patched"')
    done = tracejail("update", "-j", second, ground.manifest)
    assert (done.status, says(second)) == (2, "hello world\n")
    two_lines(done)
    shutil.rmtree(ground.jail)   # but one that was moved is
    assert tracejail("update", "-j", second, ground.manifest).status == 0
    assert says(second) == "patched world\n"


def test_a_bind_mount_of_the_same_file_system(ground: Ground) -> None:
    ground.host.greet('"patched"')
    script = f"mount --bind {ground.jail} {ground.jail} && exec {COMMAND[0]} -m tracejail update {ground.manifest}"
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script], env={**os.environ, **ENVIRONMENT},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert says(ground.jail) == "patched world\n"


def test_a_manifest_that_is_no_file(ground: Ground) -> None:
    """Nothing waits for a writer that is not there; a pipe that has one is read."""
    fifo = ground.top / "fifo.json"
    os.mkfifo(fifo)
    for command in ("status", "update", "list"):
        done = tracejail(command, fifo, timeout=20)
        assert (done.status, "cut short" in done.out + done.err) == (2, True)
        assert (tracejail(command, "/dev/null").status, tracejail(command, "/dev/zero").status) == (2, 2)
    command = f"{shlex.join(map(str, COMMAND))} list <(sleep 0.2; cat {ground.manifest})"
    assert subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout


def test_a_root_that_others_can_write_to(ground: Ground) -> None:
    assert is_current(ground)
    ground.jail.chmod(0o777)
    for _ in range(2):
        done = tracejail("status", ground.manifest)
        assert (done.status, f"chmod go-w {ground.jail}" in done.out) == (1, True)
    ground.jail.chmod(0o755)
    assert is_current(ground)
    assert (ground.jail / LIB).is_dir()
