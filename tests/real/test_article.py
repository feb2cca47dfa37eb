"""The walk that every article on chroot takes: a shell, then ls added to the same jail."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from real import Site, call, jailed, learn

SHELL = "/bin/sh"


def _shell(site: Site, manifest: dict, command: str) -> tuple[int, str, str]:  # type: ignore[type-arg]
    done = call(jailed(site, manifest, [SHELL, "-c", command]))
    return done.returncode, done.stdout, done.stderr


def _device(path: Path) -> tuple[bool, int, int]:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode), os.major(status.st_rdev), os.minor(status.st_rdev)


def test_a_shell_then_ls_in_the_same_jail(site: Site) -> None:
    manifest = learn(site, SHELL, "-c", "pwd")
    assert _shell(site, manifest, "pwd") == (0, "/\n", "")
    status, output, errors = _shell(site, manifest, "ls")
    assert (status, output) == (127, "")
    assert "not found" in errors
    before = {entry["path"] for entry in manifest["entries"]}

    manifest = learn(site, "--append", "/bin/ls", "/")
    assert before < {entry["path"] for entry in manifest["entries"]}
    status, output, errors = _shell(site, manifest, "ls -A /; pwd")
    assert (status, errors) == (0, "")
    lines = output.split()
    assert lines.pop() == "/"
    assert {"bin", "dev", "etc", "lib", "usr"} <= set(lines)
    assert set(lines) == set(os.listdir(site.jail))


def test_devices(site: Site) -> None:
    learn(site, SHELL, "-c", "pwd")
    assert _device(site.jail / "dev/null") == (True, 1, 3)
    assert _device(site.jail / "dev/zero") == (True, 1, 5)
    assert not os.path.lexists(site.jail / "dev/kmem")
    assert not os.path.lexists(site.jail / "dev/mem")
    assert set(os.listdir(site.jail / "dev")) == {"null", "zero", "full", "random", "urandom", "tty"}
