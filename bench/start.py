"""The constant start of each tool: the whole time of a program that does nothing, and what tracejail imports for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .bench import Bench
from .process import run
from .rounds import Column, Sample, rounds
from .table import Table, seconds
from .tools import NATIVE, Tool, tracejail


def section(bench: Bench) -> Iterator[Table]:
    nothing = bench.load_words("getppid", 0)
    columns = [Column(tool.name, partial(_whole, bench, tool, nothing)) for tool in (NATIVE, *bench.watchers, *bench.learners)]
    columns += [
        Column("python3 -c pass", partial(_alone, [sys.executable, "-c", "pass"])),
        Column("tracejail --version", partial(_alone, tracejail("--version"))),
        Column("tracejail --help", partial(_alone, tracejail("--help"))),
    ]
    cells = rounds(columns, bench.rounds(5))
    table = Table("Start-up: the whole time of a program that does nothing", ["by", "runs", "time (least..most)"])
    for cell in cells:
        shown = seconds(cell.seconds()) if cell.samples else f"failed: {cell.failure}"
        table.rows.append([cell.name, cell.runs(), shown])
    yield table
    yield _imports(bench, nothing)


def _whole(bench: Bench, tool: Tool, words: list[str]) -> Sample:
    return Sample(bench.timed(tool, words).whole)


def _alone(words: list[str]) -> Sample:
    return Sample(run(words).checked().seconds)


def _imports(bench: Bench, program: list[str]) -> Table:
    table = Table("What it imports (python3 -X importtime)", ["command", "modules", "of them tracejail's", "time in imports"])
    with bench.scratch() as folder:
        commands = [("python3 -c pass", [sys.executable, "-c", "pass"])]
        commands += [(f"tracejail {words[0]}", tracejail(*words)) for words in (["--version"], ["list", "--help"])]
        commands += [(tool.name, tool.words(program, _made(folder / tool.name.replace(" ", "-"))))
                     for tool in (*bench.watchers, *bench.learners) if tool.name.startswith("tracejail")]
        for name, words in commands:
            modules = _import_times(run([words[0], "-X", "importtime", *words[1:]], directory=str(folder)).checked().err)
            own = sum(module.split(".")[0] == "tracejail" for module, _ in modules)
            table.rows.append([name, str(len(modules)), str(own), f"{sum(time for _, time in modules) / 1000:.0f} ms"])
    return table


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _import_times(text: str) -> list[tuple[str, int]]:
    """Module and its own microseconds, from lines `import time:  SELF | CUMULATIVE | NAME`."""
    found = []
    for line in text.splitlines():
        first, *rest = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(rest) == 2 and first.strip().isdigit():
            found.append((rest[1].strip(), int(first)))
    return found
