"""How time and memory of tracejail grow from a tenth of a load to all of it, and manifests of 100,000 entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .bench import Bench
from .process import Failed, run
from .rounds import Cell, Column, Sample, rounds, span
from .table import Table, seconds
from .tools import NATIVE, Tool, tracejail

FILES, CALLS, PROCESSES, THREADS, ENTRIES = 100_000, 1_000_000, 10_000, 1_000, 100_000
MEMORY = 200         # MiB: the bound
MANIFEST = 3.0       # seconds: the bound
LINEAR = 12.0        # what a tenfold load may take at most, to be called linear
LONGEST = 45.0       # seconds: what is expected to take longer is not run in full, unless it was asked for
LIMIT, LONG_LIMIT = 90.0, 900.0  # seconds for one learn


@dataclass(frozen=True)
class Load:
    """A load that has a size."""

    name: str
    full: int
    words: Callable[[int], list[str]]


def section(bench: Bench) -> Iterator[Table]:
    site = bench.work / "scaling"
    site.mkdir()
    loads = (
        Load("files in one jail", FILES, lambda count: bench.load_words("files", count, _tree(site))),
        Load("calls (open+close)", CALLS, lambda count: bench.load_words("open", count, bench.load)),
        Load("processes (fork, exec, wait)", PROCESSES, lambda count: bench.load_words("processes", count, "/bin/true")),
        Load("threads at once", THREADS, lambda count: bench.load_words("threads", count, bench.load)),
    )
    table = Table("Scaling: whole learns (both rounds and the jail), a tenth and the full load",
                  ["load", "by", "1/100", "1/10", "full", "growth for tenfold", "memory of both"])
    for load in loads:
        table.rows += _grown(bench, load)
    table.words += [
        f"bounds: growth for tenfold at most {LINEAR:.0f} (linear, and some noise); memory at most {MEMORY} MiB",
        "memory: peak resident (VmHWM) of the tracejail process",
        f"a load that would take longer than {LONGEST:.0f} s is run in a hundredth and a tenth, unless --whole is said",
        "native: the load's own time; tracejail: the whole command, with the start taken off (a learn of the load of 0 rounds)",
    ]
    yield table
    yield _manifests(bench, site)


def _tree(site: Path) -> Path:
    """100,000 tiny files, a thousand in a directory."""
    top = site / "files"
    if not top.exists():
        for number in range(FILES):
            if number % 1000 == 0:
                folder = top / f"{number // 1000:03}"
                folder.mkdir(parents=True)
            (folder / f"{number:06}").write_bytes(b"x\n")
    return top


def _grown(bench: Bench, load: Load) -> Iterator[list[str]]:
    for tool in (NATIVE, *bench.learners):
        first = f"{load.full:,} {load.name}" if tool is NATIVE else ""
        cells, failure, ratio, memory = ["", "", ""], "", "", ""
        try:
            nothing = _whole(bench, tool, load, 0).seconds
            took = {10: _less(_whole(bench, tool, load, load.full // 10), nothing)}
            long = took[10].seconds * 10 > LONGEST and not bench.whole
            for part in (100,) if long else (1,):
                took[part] = _less(_whole(bench, tool, load, load.full // part), nothing)
            small, large = sorted(took.values(), key=lambda sample: sample.seconds)
            ratio = f"{large.seconds / small.seconds:.1f}"
            memory = "" if tool is NATIVE else f"{small.memory / 1024:.0f} -> {large.memory / 1024:.0f} MiB"
            cells = [seconds(span([took[part].seconds])).split(" (")[0] if part in took else "" for part in (100, 10, 1)]
            if long:
                cells[2] = f"not run: about {took[10].seconds * 10:.0f} s"
        except Failed as failed:
            failure = f"failed: {failed}"
        yield [first, tool.name, *cells[:2], failure or cells[2], ratio, memory]


def _less(sample: Sample, nothing: float) -> Sample:
    return Sample(max(sample.seconds - nothing, 1e-6), memory=sample.memory)


def _whole(bench: Bench, tool: Tool, load: Load, count: int) -> Sample:
    """Native: what the load told; a learn: the whole command. Raises Failed."""
    limit = LONG_LIMIT if bench.whole else LIMIT
    sample = bench.timed(tool, load.words(count), limit=limit, watch_memory=tool is not NATIVE)
    return sample if tool is NATIVE else Sample(sample.whole, memory=sample.memory)


# --- manifests ------------------------------------------------------------------------------------------------------


def _manifests(bench: Bench, site: Path) -> Table:
    header = ["command", "runs", "time (least..most)", f"bound {MANIFEST} s"]
    table = Table(f"Manifests of {ENTRIES:,} entries: whole commands", header)
    with bench.scratch() as folder:
        try:
            first, second = _two_manifests(folder)
        except Failed as failed:
            table.words.append(f"failed: {failed}")
            return table
        merged = folder / "merged.json"
        commands = {
            "load (tracejail list)": tracejail("list", first),
            "merge": tracejail("merge", first, second, "-o", merged),
            "diff": tracejail("diff", first, second),
        }
        for name, words in commands.items():
            cell = rounds([Column(name, partial(_command, words, merged))], bench.rounds(3))[0]
            table.rows.append([name, *_shown(cell)])
    return table


def _shown(cell: Cell) -> list[str]:
    if not cell.samples:
        return ["0", f"failed: {cell.failure}", ""]
    return [cell.runs(), seconds(cell.seconds()), "held" if cell.seconds().median <= MANIFEST else "NOT held"]


def _command(words: list[str], merged: Path) -> Sample:
    merged.unlink(missing_ok=True)
    done = run(words)
    if done.status != 1 or "diff" not in words:  # manifests that differ: status 1
        done.checked()
    return Sample(done.seconds)


def _two_manifests(folder: Path) -> tuple[Path, Path]:
    """A learned manifest grown to its size by files in the temp folder's name, and one that has half of them changed."""
    jail = folder / "jail"
    run(tracejail("learn", "-q", "-j", jail, "/bin/true")).checked()
    manifest = json.loads(Path(f"{jail}.json").read_text("utf-8"))
    model = next(entry for entry in manifest["entries"] if entry["type"] == "file")
    above = next(entry for entry in manifest["entries"] if entry["type"] == "dir")
    manifest["entries"] += [{**above, "path": "/grown"}] + [
        {**above, "path": f"/grown/{number:03}"} for number in range(ENTRIES // 1000)
    ]
    kept = list(manifest["entries"])
    files = []
    for digit in "01":
        added = [
            {**model, "path": f"/grown/{number // 1000:03}/file{number + (number % 2) * int(digit) * ENTRIES:07}",
             "sha256": f"{number:064x}"}
            for number in range(ENTRIES - len(kept))
        ]
        manifest["entries"] = sorted(kept + added, key=lambda entry: entry["path"])
        files.append(folder / f"manifest{digit}.json")
        files[-1].write_text(json.dumps(manifest), "utf-8")
    return files[0], files[1]
