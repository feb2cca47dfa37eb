"""Jails that are broken on purpose, of real programs of this machine; and what doctor is to say of them."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tool import Done, tracejail

_PLAIN = {"LC_ALL": "C"}   # a caller's locale is looked for by the target, and may be lacking too


@dataclass(frozen=True)
class Case:
    """A broken jail: how it is made, what is run in it, and the cause. `symptom` is what the user sees of it by chroot(8)."""

    name: str                                   # of cases.md where it is one of those
    build: Callable[[Path], None]
    command: tuple[str, ...]
    path: str                                   # of the cause
    symptom: str = ""                           # in what it says without doctor
    rule: str = ""                              # of the first finding; "" where the path says enough
    options: tuple[str, ...] = ()
    status: int = 1
    cured: bool = True                          # the remedy is to be applied, and cures it
    healthy: str = ""                           # what it says then


@contextmanager
def empty_jail() -> Iterator[Path]:
    """A directory that any user may search; nothing is left of it, nor of mounts beneath."""
    place = Path(tempfile.mkdtemp(prefix="tracejail-doctor."))
    place.chmod(0o755)
    jail = place / "jail"
    jail.mkdir()
    try:
        yield jail
    finally:
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for point in sorted((point for point in points if point.startswith(f"{place}/")), reverse=True):
            subprocess.run(["umount", "-l", point], check=True)
        subprocess.run(["chattr", "-R", "-f", "-i", "-a", place], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", "--one-file-system", "--", place], check=True)


def put(jail: Path, *programs: str) -> None:
    """Programs of the host with all that they need by their own files, and the harmless devices."""
    done = tracejail("deps", "--json", *programs)
    assert done.status == 0, done.out
    for row in done.json:
        copy(jail, row["path"])
    for link in ("/bin", "/sbin", "/lib", "/lib64"):
        copy(jail, link)
    devices(jail)


def copy(jail: Path, path: str) -> None:
    """One object of the host's, its directories as they are there, links kept."""
    place = jail / path.lstrip("/")
    if place.is_symlink() or place.exists():
        return
    above = os.path.dirname(path)
    if above != "/":
        real = os.path.realpath(above)
        (jail / real.lstrip("/")).mkdir(parents=True, exist_ok=True)
        place = jail / real.lstrip("/") / os.path.basename(path)
    if place.is_symlink() or place.exists():
        return
    if os.path.islink(path):
        place.symlink_to(os.readlink(path))
    else:
        shutil.copy2(path, place)


def devices(jail: Path) -> None:
    """Those that every jail may have."""
    (jail / "dev").mkdir(exist_ok=True)
    for name, number in (("null", (1, 3)), ("zero", (1, 5)), ("random", (1, 8)), ("urandom", (1, 9))):
        place = jail / "dev" / name
        if not place.exists():
            os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(*number))
            place.chmod(0o666)


def script(jail: Path, path: str, text: str, mode: int = 0o755) -> None:
    """A file of text."""
    place = jail / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(mode)


def digest(tree: Path) -> str:
    """Of all that is beneath: names, types, owners, modes, contents, times of the last change."""
    total = hashlib.sha256()
    for top, directories, files in sorted(os.walk(tree)):
        for name in sorted((*directories, *files)):
            path = os.path.join(top, name)
            status = os.lstat(path)
            total.update(repr((path, status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)).encode())
            if stat.S_ISREG(status.st_mode):
                total.update(Path(path).read_bytes())
    return total.hexdigest()


def by_chroot(jail: Path, command: tuple[str, ...]) -> Done:
    """What the user sees without doctor."""
    done = subprocess.run(
        ["chroot", jail, *command], capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False, cwd="/",
        env={**os.environ, **_PLAIN},
    )
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def diagnosis(jail: Path, case: Case, *options: str) -> dict[str, Any]:
    """What doctor says of it; it must not change the jail."""
    before = digest(jail)
    done = tracejail("doctor", "-j", jail, "--json", *case.options, *options, *case.command, cwd=Path("/"), env=_PLAIN)
    assert "Traceback" not in done.err
    assert digest(jail) == before
    assert len(done.out) < 65536
    return done.json


def check(jail: Path, case: Case) -> None:
    """The symptom is there, the first finding is the cause, and its remedy cures it."""
    case.build(jail)
    if case.symptom:
        seen = by_chroot(jail, case.command)
        assert case.symptom in seen.out + seen.err, (seen.out, seen.err)
    said = diagnosis(jail, case)
    assert said["findings"], said
    first = said["findings"][0]
    assert first["path"] == case.path, [(each["rule"], each["path"], each["message"]) for each in said["findings"]]
    assert not case.rule or first["rule"] == case.rule, first
    assert said["status"] == case.status, said
    if not case.cured:
        return
    for command in first["remedy"]:
        assert str(jail) in command, command
        subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
    after = diagnosis(jail, case)
    again = [each for each in after["findings"] if (each["rule"], each["path"]) == (first["rule"], first["path"])]
    assert again == [], again
    if case.healthy:
        seen = by_chroot(jail, case.command)
        assert case.healthy in seen.out + seen.err, (shlex.join(case.command), seen.out, seen.err)
