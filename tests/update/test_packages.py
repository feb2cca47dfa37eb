"""Real package managers: an upgrade by dpkg beneath a host root, and the hooks that call an update after one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .conftest import Ground
from .tree import COMMAND, ENVIRONMENT, LIB, says, tracejail

CONTROL = """Package: {name}
Version: {version}
Architecture: amd64
Multi-Arch: same
Maintainer: nobody <nobody@example.org>
Description: a greeting
"""


def package(ground: Ground, name: str, version: str, *libraries: str) -> Path:
    """A package of the host's present files of these names, as a .deb."""
    tree = ground.top / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL.format(name=name, version=version))
    (tree / LIB).mkdir(parents=True)
    for library in libraries:
        shutil.copy2(ground.host.top / LIB / library, tree / LIB / library, follow_symlinks=False)
    deb = ground.top / f"{name}_{version}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb)], check=True, capture_output=True)
    return deb


def install(ground: Ground, *debs: Path) -> None:
    words = ["dpkg", f"--root={ground.host.top}", "--force-script-chrootless", "-i", *map(str, debs)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run(["/sbin/ldconfig", "-r", str(ground.host.top)], check=True, capture_output=True)


def test_an_upgrade_by_dpkg(ground: Ground) -> None:
    library = ground.host.top / LIB
    first = package(ground, "libgreet1", "1.0-1", "libgreet.so.1", "libgreet.so.1.0")
    install(ground, first)
    assert tracejail("status", ground.manifest).status == 0   # unpacked again: the same bytes, times and version
    ground.host.library("libextra.so.2", "0", 'const char *extra(void) { return "more"; }')
    (library / "libgreet.so.1.0").unlink()
    ground.host.greet("extra()", "1", f"{library}/libextra.so.2.0", before="const char *extra(void);")
    second = package(ground, "libgreet1", "1.1-1", "libgreet.so.1", "libgreet.so.1.1")
    extra = package(ground, "libextra2", "2.0-3", "libextra.so.2", "libextra.so.2.0")
    for name in ("libextra.so.2", "libextra.so.2.0", "libgreet.so.1.1"):
        (library / name).unlink()
    install(ground, first)   # as it was
    install(ground, extra, second)
    document = tracejail("status", "--json", ground.manifest).json["jails"][0]
    keys = ("kind", "package", "version", "now")
    rows = {row["path"].rpartition("/")[2]: tuple(row[key] for key in keys) for row in document["drift"]}
    assert rows["libgreet.so.1"] == ("patched", "libgreet1:amd64", "1.0-1", "1.1-1")
    assert rows["libgreet.so.1.0"][0] == "gone from host"
    assert rows["libextra.so.2.0"][0] == "new need"
    done = tracejail("update", "--verify", ground.manifest)
    assert done.status == 0, done.out + done.err
    assert "1.0-1 -> 1.1-1" in done.out
    assert "proven in a copy" in done.out
    assert says(ground.jail) == "more world\n"
    assert tracejail("status", "--full", ground.manifest).status == 0
    listed = tracejail("list", ground.manifest).out
    assert f"/{LIB}/libextra.so.2.0" in listed
    assert "libgreet.so.1.0" not in listed


def test_the_hook_for_apt(tmp_path: Path) -> None:
    conf = tmp_path / "90tracejail"
    conf.write_text(tracejail("update", "--hook", "apt").out)
    words = ["apt-config", "-c", str(conf), "dump", "DPkg::Post-Invoke"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "tracejail" in line)
    command = line.partition('"')[2].rpartition('"')[0]
    assert command.endswith("update --all) || true")
    assert subprocess.run(["/bin/sh", "-n", "-c", command], check=False).returncode == 0


def test_a_hook_takes_no_package_of_the_working_directory(tmp_path: Path) -> None:
    """dpkg may be called anywhere, and it runs the hook as root."""
    (tmp_path / "tracejail").mkdir()
    (tmp_path / "tracejail/__init__.py").write_text("")
    (tmp_path / "tracejail/__main__.py").write_text("print('evil')\n")
    environment = {**os.environ, **ENVIRONMENT, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}   # not the one with a script
    for kind in ("apt", "systemd-service"):
        made = subprocess.run(
            [*COMMAND, "update", "--hook", kind], env=environment, capture_output=True, text=True, check=True,
        ).stdout
        line = next(line for line in made.splitlines() if "update --all" in line)
        command = line.replace("(", "").replace("ExecStart=", "").rpartition("&& ")[2].partition(" update --all")[0]
        assert command.split()[1:] == ["-P", "-m", "tracejail"]
        words = ["/bin/sh", "-c", f"{command} --version"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("tracejail "), done.stdout + done.stderr


def test_the_units(tmp_path: Path) -> None:
    for kind in ("service", "path", "timer"):
        (tmp_path / f"tracejail-update.{kind}").write_text(tracejail("update", "--hook", f"systemd-{kind}").out)
    for kind in ("service", "path", "timer"):
        words = ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"tracejail-update.{kind}")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, [line for line in done.stderr.splitlines() if "tracejail-update" in line]) == (0, [])
