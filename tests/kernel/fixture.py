"""A fixture: a tiny program of one trap, its header, and how it is built and its host tree prepared.

The header is the comment at the top of the source: a sentence on the trap, then lines `KEY: VALUE`:
`build` (compiler flags), `host` (a shell command run in the base directory), `learn` (options of learn), `status`
(learn's exit status), `host-status` (the program's own on the host), `ignore` (a regular expression for paths that depend
on the loader's version), `restart: differs` (and why), `first: differs` (and why the first who asks for a path is not the
same in each run), `holds` and `lacks` (names beneath the base directory that are, or are not, in the manifest), `users` and
`groups` (all that the jail knows).

Those in `late` are daemons; further keys say what is asked of them, and what must be seen: `ask` (requests, each a byte and
an exercise), `miss` (a miss line; {base} is the base directory), `phase` (a name beneath it, or an absolute path, and the
phase in which it is first asked for), `socket` (one that the jail needs).
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
LATE = DIRECTORY / "late"
_KEYS = (
    "build", "host", "ignore", "learn", "status", "host-status", "restart", "first", "holds", "lacks", "users", "groups", "ask",
    "miss", "phase", "socket",
)
_KEY = re.compile(rf"(?://|#) ({'|'.join(_KEYS)}): (.*)")
_ACCOUNTS = ("users", "groups")
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
    host_status: int = 0
    restart_differs: str = ""
    first_differs: str = ""
    holds: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    ignore: str = ""
    asks: tuple[str, ...] = ("r",)
    misses: tuple[str, ...] = ()
    phases: tuple[tuple[str, str], ...] = ()
    sockets: tuple[str, ...] = ()


def read(source: Path) -> Fixture:
    """The fixture of a source file. Raises ValueError for a header that says nothing of the trap."""
    keys: dict[str, list[str]] = {}
    trap = ""
    for line in source.read_text().splitlines():
        if line.startswith("#!"):
            continue
        if not line.startswith(("// ", "# ")):
            break
        found = _KEY.fullmatch(line)
        if found:
            keys.setdefault(found[1], []).append(found[2])
        elif not keys:
            trap += line.lstrip("/# ") + " "
    if not trap:
        raise ValueError(f"{source}: the header says nothing of the trap")
    words = {key: shlex.split(" ".join(keys.get(key, []))) for key in ("build", "learn", "holds", "lacks", *_ACCOUNTS)}
    differs = {key: " ".join(keys.get(key, [])) for key in ("restart", "first")}
    for key, reason in differs.items():
        if reason and not re.fullmatch(r"differs[:,] .+", reason):
            raise ValueError(f"{source}: {key}: differs, and the reason")
    return Fixture(
        source=source,
        trap=trap.strip(),
        build=tuple(words["build"]),
        host=tuple(keys.get("host", [])),
        learn=tuple(words["learn"]),
        status=int(keys.get("status", ["0"])[0]),
        host_status=int(keys.get("host-status", ["0"])[0]),
        restart_differs=differs["restart"],
        first_differs=differs["first"],
        holds=tuple(words["holds"]),
        lacks=tuple(words["lacks"]),
        users=tuple(words["users"]),
        groups=tuple(words["groups"]),
        ignore="|".join(keys.get("ignore", [])),
        asks=tuple(" ".join(keys.get("ask", ["r"])).split()),
        misses=tuple(keys.get("miss", [])),
        phases=tuple((line.split()[0], line.split(" ", 1)[1]) for line in keys.get("phase", [])),
        sockets=tuple(keys.get("socket", [])),
    )


def all_fixtures(directory: Path = DIRECTORY) -> list[Fixture]:
    """All of a directory, by name."""
    sources = [path for path in directory.iterdir() if path.suffix in (".c", *_INTERPRETERS)]
    return [read(path) for path in sorted(sources)]


def build(fixture: Fixture, directory: Path) -> list[str]:
    """Build a fixture; gives its command, to which the base directory is to be added."""
    suffix = fixture.source.suffix
    if suffix == ".c":
        program = directory / fixture.source.stem
        options = ["-O1", "-Wall", "-I", str(DIRECTORY), "-o", str(program)]
        subprocess.run(["gcc", *options, str(fixture.source), *fixture.build], check=True)
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


def is_own(fixture: Fixture, line: str, base: Path) -> bool:
    """Whether a miss line is of the fixture and not of the loader or an interpreter: it names a path beneath the base
    directory, a relative one, or one beneath a root of the fixture's own (these are all named /fx-...)."""
    path = line.split(" ", 2)[2]
    if fixture.ignore and re.fullmatch(fixture.ignore, path):
        return False
    return os.fspath(base) in path or not path.startswith(("/", "~")) or path.startswith("/fx-")


def plain(line: str) -> str:
    """A miss line in printable ASCII, as the fixtures state it."""
    escaped = {ord("\n"): "\\n", ord("\\"): "\\\\"}
    text = line.translate(escaped)
    return "".join(f"\\x{byte:02x}" if byte > 126 else chr(byte) for byte in os.fsencode(text))
