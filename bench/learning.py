"""Learning daemons to the end, against their native run; and how many files each way to a jail puts in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import jails
from .bench import Bench
from .process import Failed, ended, run, started
from .rounds import Cell, Column, Sample, rounds
from .sites import SITES, Server, answers, apache_site
from .table import Table, seconds, times
from .tools import Tool, tracejail

TIMES, MORE = 2.5, 0.3  # the bound: so many times native and so many seconds more
PYTHON = ["/usr/bin/python3", "-c", "import ssl, json, sqlite3"]
PYTHON_FILES, APACHE_FILES = 110, 155
_END = 20.0


def section(bench: Bench) -> Iterator[Table]:
    table = Table("Learning daemons: both rounds and the built jail, against start, client and stop of a native run",
                  ["daemon", "by", "runs", "time (least..most)", "times native", f"bound {TIMES} x native + {MORE} s",
                   "works under chroot"])
    for site in SITES:
        with bench.scratch() as folder, bench.scratch() as other:
            server, theirs = site(folder), site(other)  # what a peer leaves behind is not to slow a native run
            works: dict[str, str] = {}
            columns = [Column("native", partial(_native, server))]
            columns += [Column(tool.name, partial(_learned, bench, tool, server)) for tool in bench.learners]
            if bench.reprozip:
                columns.append(Column("ReproZip trace, pack, unpack", partial(_peer, bench, theirs, "reprozip", works)))
            if shutil.which("care"):
                columns.append(Column("CARE", partial(_peer, bench, theirs, "care", works)))
            table.rows += _rows(server, rounds(columns, bench.rounds(5)), works)
    table.words.append("a learn is clean only where a second run proved the jail; a peer's tree is tried afterwards, uncounted")
    yield table
    yield _files(bench)


def _rows(server: Server, cells: Sequence[Cell], works: Mapping[str, str]) -> Iterator[list[str]]:
    native = cells[0]
    for cell in cells:
        first = server.name if cell is native else ""
        if not cell.samples:
            yield [first, cell.name, "0", f"failed: {cell.failure}", "", "", ""]
            continue
        bound = ""
        if cell.name.startswith("tracejail") and native.samples:
            most = TIMES * native.seconds().median + MORE
            bound = f"{most:.2f} s: {'held' if cell.seconds().median <= most else 'NOT held'}"
        ratio = None if cell is native else cell.ratio(native)
        tree = "yes" if cell.name.startswith("tracejail") else works.get(cell.name.split()[0].lower(), "")
        yield [first, cell.name, cell.runs(), seconds(cell.seconds()), times(ratio), bound, tree]


def _as_user(server: Server) -> list[str]:
    if not server.user:
        return server.command
    return ["setpriv", f"--reuid={server.user}", f"--regid={server.user}", "--init-groups", *server.command]


def _driven(server: Server, words: list[str], environment: dict[str, str] | None = None, directory: str = "/") -> None:
    """Start it, wait until it serves, be its client, stop it. Raises Failed."""
    with started(words, environment=environment, directory=directory) as process:
        answers(server.port, process)
        deadline = time.monotonic() + _END
        while (done := run(["/bin/sh", "-c", server.client], limit=_END)).status and time.monotonic() < deadline:
            time.sleep(0.005)  # PostgreSQL accepts connections before it serves
        done.checked()
        for found in jails.listeners(server.port):  # the daemon itself, beneath whatever watches it
            signal_number = signal.Signals[f"SIG{server.stop}"]
            jails.tell(found, signal_number)
        ended(process, _END)


def _native(server: Server) -> Sample:
    return Sample(jails.clocked(partial(_driven, server, _as_user(server))))


def _learn_words(tool: Tool, server: Server, jail: Path) -> list[str]:
    """The options of a learn of a daemon; the engine is what the tool has it as."""
    words = tool.words([], jail.parent)
    engine = words[words.index("--engine") + 1:][:1] if "--engine" in words else []
    options = [*(["--engine", *engine] if engine else []), "--stop", server.stop, *(["-u", server.user] if server.user else [])]
    return tracejail("learn", "--json", "-j", jail, *options, "--exercise", server.client, *server.command)


def _learned(bench: Bench, tool: Tool, server: Server) -> Sample:
    with bench.scratch() as folder:
        return Sample(_clean(_learn_words(tool, server, folder / "jail")))


def _clean(words: list[str]) -> float:
    """The seconds of a learn that came out clean. Raises Failed."""
    done = run(words)
    try:
        result = json.loads(done.out)
    except ValueError:
        done.checked()
        raise Failed("it printed no JSON") from None
    if not result["clean"]:
        raise Failed(f"not clean: {result['reason']}"[:160])
    return done.seconds


@contextmanager
def _shared_memory_cleared() -> Iterator[None]:
    """A PostgreSQL that dies with its watcher leaves segments in /dev/shm."""
    before = set(os.listdir("/dev/shm"))
    try:
        yield
    finally:
        for name in set(os.listdir("/dev/shm")) - before:
            if name.startswith("PostgreSQL."):
                os.unlink(f"/dev/shm/{name}")


def _peer(bench: Bench, server: Server, peer: str, works: dict[str, str]) -> Sample:
    """The time until a peer's tree is there; whether it works is asked once."""
    drive, trees = partial(_driven, server), []
    with _shared_memory_cleared(), bench.scratch() as folder:
        if peer == "care":
            took = jails.clocked(lambda: trees.append(jails.care(folder, drive, _as_user(server))))
        else:
            took = jails.clocked(lambda: trees.append(jails.reprozip(bench, folder, drive, _as_user(server))))
        if peer not in works:
            works[peer] = "yes" if jails.serves(trees[0], server, helped=True) else "no"
    return Sample(took)


@dataclass(frozen=True)
class Target:
    """What a jail is made for: how it is run, whether it works in a tree, and the bound on the files."""

    name: str
    program: list[str]
    drive: Callable[[list[str], dict[str, str], str], None]
    works: Callable[[Path, bool], bool]
    learn: Callable[[Tool, Path], list[str]]
    most: str


def _files(bench: Bench) -> Table:
    table = Table("Files of each jail", ["target", "by", "files and links", "size", "works under chroot", "time to make"])
    with bench.scratch() as site:
        apache = apache_site(site)
        targets = [
            Target("Apache, Debian's default site", apache.command,
                   lambda words, environment, directory: _driven(apache, words, environment, directory),
                   lambda tree, helped: jails.serves(tree, apache, helped),
                   lambda tool, jail: _learn_words(tool, apache, jail), f"fewer than {APACHE_FILES} for tracejail, and serving"),
            Target("python3 with ssl, json, sqlite3", PYTHON,
                   lambda words, environment, directory: _plain(words, environment, directory),
                   lambda tree, helped: jails.runs(tree, PYTHON, helped),
                   lambda tool, jail: [*tool.words([], jail.parent), *PYTHON], f"at most {PYTHON_FILES} for tracejail"),
        ]
        for target in targets:
            table.words.append(f"bound, {target.name}: {target.most}")
            first = target.name
            for name, make, helped in _ways(bench, target):
                table.rows.append([first, name, *_made(bench, target, make, helped)])
                first = ""
    table.words.append("files and links: all that is no directory; the trees of peers are run with the host's /dev and with "
                       "/proc, tracejail's with nothing")
    return table


def _plain(words: list[str], environment: dict[str, str], directory: str) -> None:
    run(words, environment=environment, directory=directory).checked()


def _ways(bench: Bench, target: Target) -> Iterator[tuple[str, Callable[[Path], Path], bool]]:
    for tool in bench.learners:
        yield tool.name, partial(_jail_of, target, tool), False
    if bench.reprozip:
        yield "ReproZip", lambda folder: jails.reprozip(bench, folder, target.drive, target.program), True
    for name, make in (("CDE", jails.cde), ("CARE", jails.care)):
        if shutil.which(name.lower()):
            yield name, partial(make, drive=target.drive, program=target.program), True
    if shutil.which("jk_cp"):
        yield "jailkit jk_cp", partial(jails.jailkit, program=target.program), True
    yield "ldd copy", partial(jails.ldd, program=target.program), True


def _jail_of(target: Target, tool: Tool, folder: Path) -> Path:
    _clean(target.learn(tool, folder / "jail"))
    return folder / "jail"


def _made(bench: Bench, target: Target, make: Callable[[Path], Path], helped: bool) -> list[str]:
    with bench.scratch() as folder:
        trees: list[Path] = []
        try:
            took = jails.clocked(lambda: trees.append(make(folder)))
            files, size = jails.contents(trees[0])
            works = "yes" if target.works(trees[0], helped) else "no"
        except (Failed, OSError, shutil.Error) as failed:
            return [f"failed: {failed}", "", "", ""]
    return [str(files), f"{size / 1e6:.1f} MB", works, f"{took:.2f} s"]


