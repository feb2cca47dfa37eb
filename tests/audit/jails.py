"""Small jails for audit's tests: a clean one, and what is needed to plant something in it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tool import Done, run_words
from tracejail.manifest import write_manifest
from tracejail.model import (
    Command,
    Entry,
    EntryType,
    HostIdentity,
    JailPath,
    Manifest,
    Origin,
    Use,
    Written,
)

MOUNTED = "/mnt/jail"
_SOURCE = "int main(void) { return 0; }\n"
DAEMON = 4711            # the user and group of the manifests


@dataclass(frozen=True)
class Plant:
    """A weakness: how it is planted in a clean jail, and what audit is to say. `shell` are lines that are run in the mount
    namespace of the audit, where the jail is {J}."""

    name: str
    build: Callable[[Path], object]
    rule: str
    path: str
    written: tuple[str, ...] | None = None   # with a manifest, which has these places as written
    shell: str = ""
    options: tuple[str, ...] = ()
    cured: bool = True                       # the remedy can be pasted


@contextmanager
def place() -> Iterator[Path]:
    """A directory of a jail `jail`; nothing is left of it."""
    top = Path(tempfile.mkdtemp(prefix="tracejail-audit."))
    top.chmod(0o755)
    try:
        yield top
    finally:
        subprocess.run(["chattr", "-R", "-f", "-i", "-a", top], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", "--one-file-system", "--", top], check=True)


@functools.cache
def static_program() -> bytes:
    """A program that needs nothing."""
    with tempfile.TemporaryDirectory(prefix="tracejail-audit.") as top:
        made = os.path.join(top, "made")
        subprocess.run(["gcc", "-static", "-O1", "-x", "c", "-o", made, "-"], input=_SOURCE.encode(), check=True)
        return Path(made).read_bytes()


def clean(jail: Path) -> None:
    """A static program, /dev/null, root's own."""
    for name in ("bin", "dev", "etc", "srv"):
        (jail / name).mkdir(parents=True)
    jail.chmod(0o755)
    write(jail, "/bin/daemon", static_program(), 0o755)
    device(jail, "/dev/null", "c", 1, 3, 0o666)


def write(jail: Path, path: str, data: bytes | str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Path:
    """A file, with the directories above it."""
    target = jail / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data if isinstance(data, bytes) else data.encode())
    os.chown(target, uid, gid)
    target.chmod(mode)
    return target


def copied(source: str, path: str, mode: int = 0o755) -> Callable[[Path], object]:
    """A plant: a file of the host under another name."""

    def build(jail: Path) -> None:
        write(jail, path, Path(source).read_bytes(), mode)

    return build


def text(path: str, data: bytes | str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Callable[[Path], object]:
    """A plant: a file."""
    return lambda jail: write(jail, path, data, mode, uid, gid)


def directory(path: str, mode: int, uid: int = 0, gid: int = 0, *files: str) -> Callable[[Path], object]:
    """A plant: a directory, with programs in it."""

    def build(jail: Path) -> None:
        target = jail / path.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        for name in files:
            write(jail, f"{path}/{name}", static_program(), 0o755)
        os.chown(target, uid, gid)
        target.chmod(mode)

    return build


def device(jail: Path, path: str, kind: str, major: int, minor: int, mode: int = 0o600) -> None:
    """A node by its numbers."""
    target = jail / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(target, mode | (stat.S_IFBLK if kind == "b" else stat.S_IFCHR), os.makedev(major, minor))
    target.chmod(mode)


def node(path: str, kind: str, major: int, minor: int) -> Callable[[Path], object]:
    """A plant: a device."""
    return lambda jail: device(jail, path, kind, major, minor)


def link(path: str, target: str, *also: Callable[[Path], object]) -> Callable[[Path], object]:
    """A plant: a symbolic link, and what else there must be."""

    def build(jail: Path) -> None:
        for each in also:
            each(jail)
        (jail / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (jail / path.lstrip("/")).symlink_to(target)

    return build


def several(*plants: Callable[[Path], object]) -> Callable[[Path], object]:
    """A plant of more than one thing."""

    def build(jail: Path) -> None:
        for each in plants:
            each(jail)

    return build


def listening(path: str) -> Callable[[Path], object]:
    """A plant: a socket that nobody listens on any more."""

    def build(jail: Path) -> None:
        target = jail / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        here = os.open(target.parent, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{target.name}")   # a path of a socket is short
        os.close(here)

    return build


def manifest_of(jail: Path, written: tuple[str, ...]) -> Manifest:
    """A manifest that has all of a jail as it is, and some places as written."""
    entries = []
    for top, directories, files in os.walk(jail):
        for name in (*directories, *files):
            path = os.path.join(top, name)
            status = os.lstat(path)
            inner = JailPath(f"/{os.path.relpath(path, jail)}")
            kind = {stat.S_IFDIR: EntryType.DIRECTORY, stat.S_IFCHR: EntryType.CHARACTER}.get(
                stat.S_IFMT(status.st_mode), EntryType.FILE
            )
            number = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind is EntryType.CHARACTER else None
            entries.append(Entry(
                inner, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, Origin.MISS, device=number,
                size=status.st_size if kind is EntryType.FILE else 0,
            ))
    places = tuple(Written(JailPath(path), EntryType.DIRECTORY, 0o755, DAEMON, DAEMON, Use.STATE) for path in written)
    return Manifest(
        Command(("/bin/daemon",), uid=DAEMON, gid=DAEMON), HostIdentity("/", "", "", "x86-64"), str(jail), True,
        entries=tuple(sorted(entries, key=lambda entry: entry.path)), written=places,
    )


def with_manifest(jail: Path, written: tuple[str, ...]) -> None:
    """A manifest beside a jail, of all that is in it."""
    for path in written:
        directory(path, 0o755, DAEMON, DAEMON)(jail)
    write_manifest(manifest_of(jail, written), f"{jail}.json")


def in_namespace(top: Path, shell: str, words: list[str], timeout: float = 60) -> Done:
    """Run words where `top` is /mnt, after shell lines; mounts are gone with it."""
    script = f'set -e; mount --bind {top} /mnt; {shell.replace("{J}", MOUNTED)}\nexec "$@"'
    return run_words(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *words], None,
        {"PYTHONPATH": str(Path(__file__).parents[2])}, timeout,
    )


def audit(top: Path, *words: str, shell: str = "", target: str = MOUNTED) -> Done:
    """The command, on the jail of a place."""
    return in_namespace(top, shell, [sys.executable, "-m", "tracejail", "audit", *words, target])


def audited(top: Path, plant: Plant) -> dict[str, Any]:
    """Audit, its remedy, and audit again."""
    shell = plant.shell.replace("{J}", MOUNTED)
    done = in_namespace(
        top, "", [sys.executable, "-m", "tests.audit.inside", shell, plant.rule, plant.path, *plant.options, MOUNTED]
    )
    assert done.status == 0, done.err
    document: dict[str, Any] = json.loads(done.out)
    return document


def causes(document: dict[str, Any]) -> set[tuple[str, str]]:
    """The rules and paths of what was found, notes left out."""
    return {(each["rule"], each["path"]) for each in document["findings"] if each["weight"]}


def fresh(top: Path) -> Path:
    """A clean jail at a place."""
    jail = top / "jail"
    shutil.rmtree(jail, ignore_errors=True)
    clean(jail)
    return jail
