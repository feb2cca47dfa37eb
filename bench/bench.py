"""What all sections share: the temp folder, the timed load, the tools that are there, and the runs that a user asked for."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from .process import TOP, Failed, run
from .rounds import Sample
from .tools import Tool

LONG = 300_000  # calls; each costs as much as the one before, so a part of them tells it too


@dataclass
class Bench:
    """One run of the benchmark."""

    work: Path                      # a folder that is removed at the end; a worker that has dropped root may read it
    runs: int | None                # --runs, where it was said
    whole: bool                     # --whole: the full loads of `scaling`, however long they take
    load: Path                      # the compiled load.c
    reports: socket.socket          # where the loads tell their times
    watchers: list[Tool] = field(default_factory=list)   # tracejail trace by each engine, then the peers
    learners: list[Tool] = field(default_factory=list)   # tracejail learn by each engine
    reprozip: Path | None = None    # the folder with its commands

    def rounds(self, default: int) -> int:
        return self.runs or default

    @property
    def port(self) -> str:
        return str(self.reports.getsockname()[1])

    def load_words(self, kind: str, count: int, *words: str | Path) -> list[str]:
        return [str(self.load), self.port, kind, str(count), *map(str, words)]

    def told(self) -> list[float]:
        """The seconds that loads have told since the last call, the first first."""
        times = []
        with contextlib.suppress(BlockingIOError):
            while True:
                times.append(int(self.reports.recv(64)) / 1e9)
        return times

    def calls(self, tool: Tool, kind: str, count: int, *words: str | Path) -> Sample:
        """A load of calls under a tool; a slow tool makes only a part of a long one, and its time is taken times that part."""
        part = tool.part if count >= LONG else 1
        sample = self.timed(tool, self.load_words(kind, count // part, *words))
        return replace(sample, seconds=sample.seconds * part, part=part)

    def timed(self, tool: Tool, words: list[str], limit: float = 60.0, watch_memory: bool = False) -> Sample:
        """A load under a tool: the time that the load itself told; with the peak memory of the tool, if wanted. Raises Failed."""
        self.told()
        with self.scratch() as folder:
            done = run(tool.words(words, folder), environment=tool.environment, limit=limit, directory=str(folder),
                       watch_memory=watch_memory).checked()
        told = self.told()
        if not told:
            raise Failed("the load did not come to its end")
        return Sample(told[0], memory=done.memory, whole=done.seconds)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for one run."""
        folder = Path(tempfile.mkdtemp(prefix="run.", dir=self.work))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def opened(runs: int | None, whole: bool) -> Iterator[Bench]:
    """A bench with its load compiled; all of it is gone afterwards."""
    work = Path(tempfile.mkdtemp(prefix="tracejail-bench."))
    work.chmod(0o755)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reports:
            reports.bind(("127.0.0.1", 0))
            reports.setblocking(False)
            load = work / "load"
            run(["gcc", "-O2", "-pthread", "-o", str(load), str(TOP / "bench/load.c")]).checked()
            yield Bench(work, runs, whole, load, reports)
    finally:
        shutil.rmtree(work, ignore_errors=True)
