"""What the other processes of the machine pay while a target is watched: its neighbours, not its children."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .bench import Bench
from .process import started
from .rounds import Cell, Column, Sample, rounds
from .table import Table
from .tools import NATIVE, Tool, tracejail

COUNT = 300_000
MOST = 50.0  # ns a call, the project's bound
_LOADS = {"getppid": "", "stat": "file", "access": "file", "open+close": "file"}
_KINDS = {"open+close": "open"}
_READY = 1.5  # seconds until a learn has begun and its target has listed the directory


def others(bench: Bench, site: Path) -> Table:
    """A native load alone, and beside a learn by each engine whose target sleeps and has stand-ins."""
    table = Table("Other processes of the machine, while a target with stand-ins is watched",
                  ["call", *(f"beside {tool.name}" for tool in bench.learners), "bound"])
    listed = site / "neighbour"
    listed.mkdir()
    for number in range(50):
        (listed / f"{number:02}").write_text("x\n")
    for name, file in _LOADS.items():
        load = partial(bench.calls, NATIVE, _KINDS.get(name, name), COUNT, *([site / file] if file else []))
        columns = [Column("native", load)]
        columns += [Column(tool.name, partial(_beside, bench, tool, listed, load)) for tool in bench.learners]
        cells = rounds(columns, bench.rounds(5))
        table.rows.append([name, *(_more(cell, cells[0], 1 + name.count("+")) for cell in cells[1:]), f"{MOST:.0f} ns a call"])
    return table


def _more(cell: Cell, native: Cell, calls: int) -> str:
    if not cell.samples or not native.samples:
        return f"failed: {cell.failure}"
    both = cell.samples.keys() & native.samples.keys()
    more = sorted((cell.samples[at].seconds - native.samples[at].seconds) / (COUNT * calls) * 1e9 for at in both)
    return f"{more[len(more) // 2]:.0f} ns more a call ({more[0]:.0f}..{more[-1]:.0f})"


def _beside(bench: Bench, tool: Tool, listed: Path, load: partial[Sample]) -> Sample:
    with bench.scratch() as folder, _watched(tool, listed, folder):
        return load()


@contextmanager
def _watched(tool: Tool, listed: Path, folder: Path) -> Iterator[None]:
    words = tool.words([], folder)
    engine = words[words.index("--engine") + 1]
    program = ["/bin/sh", "-c", f"ls -U {listed} >/dev/null; exec sleep 60"]
    with started(tracejail("learn", "-q", "--engine", engine, "-j", folder / "jail", *program), directory=str(folder)):
        time.sleep(_READY)
        yield
