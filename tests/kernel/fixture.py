"""A fixture: a tiny program of one trap, its header, and how it is built and its host tree prepared.

The header is the comment at the top of the source: a sentence on the trap, then lines `KEY: VALUE`:
`build` (compiler flags), `host` (a shell command run in the base directory), `learn` (options of learn), `status`
(learn's exit status), `restart: differs` (and why). `{base}` in the options of learn is the base directory.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[2] / "fixtures"
_KEY = re.compile(r"(?://|#) (build|host|learn|status|restart): (.*)")
_INTERPRETERS = {".py": "/usr/bin/python3", ".sh": "/bin/sh"}


@dataclass(frozen=True, slots=True)
class Fixture:
    """What the header says."""

    source: Path
    trap: str
    build: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    learn: tuple[str, ...] = ()
    status: int = 0
    restart_differs: str = ""


def read(source: Path) -> Fixture:
    """The fixture of a source file. Raises ValueError for a header that says nothing of the trap."""
    keys: dict[str, list[str]] = {}
    trap = ""
    for line in source.read_text().splitlines():
        if line.startswith("#!"):
            continue
        if not line.startswith(("// ", "# ", "/* ")):
            break
        found = _KEY.fullmatch(line)
        if found:
            keys.setdefault(found[1], []).append(found[2])
        elif not keys:
            trap += line.strip("/*# ") + " "
    if not trap:
        raise ValueError(f"{source}: the header says nothing of the trap")
    words = {key: shlex.split(" ".join(keys.get(key, []))) for key in ("build", "learn")}
    differs = " ".join(keys.get("restart", []))
    if differs and not re.fullmatch(r"differs[:,] .+", differs):
        raise ValueError(f"{source}: restart: differs, and the reason")
    return Fixture(
        source=source,
        trap=trap.strip(),
        build=tuple(words["build"]),
        host=tuple(keys.get("host", [])),
        learn=tuple(words["learn"]),
        status=int(keys.get("status", ["0"])[0]),
        restart_differs=differs,
    )


def all_fixtures() -> list[Fixture]:
    """All of them, by name."""
    sources = [path for path in DIRECTORY.iterdir() if path.suffix in (".c", *_INTERPRETERS)]
    return [read(path) for path in sorted(sources)]


def build(fixture: Fixture, directory: Path) -> list[str]:
    """Build a fixture; gives its command, to which the base directory is to be added."""
    suffix = fixture.source.suffix
    if suffix == ".c":
        program = directory / fixture.source.stem
        command = ["gcc", "-O1", "-Wall", "-I", DIRECTORY, "-o", program, fixture.source, *fixture.build]
        subprocess.run(command, check=True)
        return [str(program)]
    program = directory / fixture.source.name
    shutil.copy(fixture.source, program)
    return [_INTERPRETERS[suffix], str(program)]


def prepare(fixture: Fixture, base: Path) -> None:
    """Make the base directory anew, with what the fixture wants of the host in it."""
    if base.exists():
        subprocess.run(["rm", "-rf", "--", base], check=True)  # deeper than the recursion of shutil.rmtree
    base.mkdir()
    for command in fixture.host:
        subprocess.run(["bash", "-euc", "umask 022; " + command], cwd=base, check=True, stdin=subprocess.DEVNULL)


def is_own(line: str, stated: set[str], base: Path) -> bool:
    """Whether a miss line is of the fixture and not of the loader or an interpreter: it names a path beneath the base
    directory, or is one that the fixture stated (a relative path, one after a chroot)."""
    return line in stated or os.fspath(base) in line.split(" ", 2)[2]
