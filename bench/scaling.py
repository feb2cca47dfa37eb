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
LIMIT = 150.0        # seconds for one learn


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
    table = Table("Scaling: whole learns (both rounds and the jail), the tenth and the full load",
                  ["load", "by", "a tenth", "full", "full / tenth", "memory, a tenth", "memory, full"])
    for load in loads:
        table.rows += _grown(bench, load)
    table.words += [
        f"bounds: full / tenth at most {LINEAR:.0f} (linear, and some noise); memory at most {MEMORY} MiB",
        "memory: peak resident (VmHWM) of the tracejail process",
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
        took: list[Sample] = []
        failure = ""
        try:
            nothing = _whole(bench, tool, load.words(0)).seconds if tool is not NATIVE else 0.0
            for count in (load.full // 10, load.full):
                sample = _whole(bench, tool, load.words(count))
                took.append(Sample(max(sample.seconds - nothing, 1e-6), memory=sample.memory))
        except Failed as failed:
            failure = f"failed: {failed}"
        times = [seconds(span([sample.seconds])).split(" (")[0] for sample in took]
        memory = [f"{sample.memory / 1024:.0f} MiB" if tool is not NATIVE else "" for sample in took]
        ratio = f"{took[1].seconds / took[0].seconds:.1f}" if len(took) == 2 else ""
        times += [failure, ""] if not took else [failure] if len(took) == 1 else []
        memory += [""] * (2 - len(memory))
        yield [f"{load.full:,} {load.name}" if tool is NATIVE else "", tool.name, *times, ratio, *memory]


def _whole(bench: Bench, tool: Tool, words: list[str]) -> Sample:
    sample = bench.timed(tool, words, limit=LIMIT, watch_memory=tool is not NATIVE)
    return sample if tool is NATIVE else Sample(sample.whole, memory=sample.memory)


# --- manifests ------------------------------------------------------------------------------------------------------


def _manifests(bench: Bench, site: Path) -> Table:
    table = Table(f"Manifests of {ENTRIES:,} entries: whole commands", ["command", "runs", "time (least..most)", f"bound {MANIFEST} s"])
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
