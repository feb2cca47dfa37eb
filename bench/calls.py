"""Loads of calls: what one call costs under each watcher. Each load times its own loop."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .bench import Bench
from .others import others
from .rounds import Cell, Column, rounds
from .table import Table, detail, overview
from .tools import NATIVE

HITS, MISSES, FREE = 300_000, 50_000, 1_000_000
LISTED = 50  # files of the directory that is listed
BOUNDS = {"open+close": 1.10, "stat": 1.15, "access": 1.15, "getppid": 1.03}
LISTED_BOUND = 1.30


def section(bench: Bench) -> Iterator[Table]:
    site = bench.work / "calls"
    site.mkdir()
    file = site / "file"
    file.write_text("here\n")
    loads: dict[str, tuple[str, int, str | Path]] = {
        "open+close": ("open", HITS, file),
        "stat": ("stat", HITS, file),
        "access": ("access", HITS, file),
        "one miss": ("miss", MISSES, site / "none"),
        "distinct misses": ("misses", MISSES, site / "none"),
        "getppid": ("getppid", FREE, ""),
    }
    counts = {name: count for name, (_, count, _) in loads.items()}
    results = {}
    for name, load in loads.items():
        columns = [Column(tool.name, partial(bench.calls, tool, *load)) for tool in (NATIVE, *bench.watchers)]
        results[name] = rounds(columns, bench.rounds(9))
    named = {f"{counts[name]:,} {name}": cells for name, cells in results.items()}
    yield overview("Calls: times native", named)
    table = detail("Calls, each", named, {f"{counts[name]:,} {name}": counts[name] for name in counts},
                   {f"{counts[name]:,} {name}": bound for name, bound in BOUNDS.items()})
    for name in ("one miss", "distinct misses"):
        table.words += _against_strace(name, results[name])
    yield table
    yield _while_listed(bench, site)
    yield others(bench, site)


def _against_strace(name: str, cells: list[Cell]) -> Iterator[str]:
    strace = next((cell for cell in cells if cell.name == "strace --seccomp-bpf"), None)
    for cell in cells:
        if not cell.name.startswith("tracejail") or strace is None:
            continue
        ratio = cell.ratio(strace)
        if ratio:
            bound = 0.9 if cell.name.endswith("seccomp") else 1.0
            held = "held" if ratio.median <= bound else "NOT held"
            yield (f"{name}: {cell.name} takes {ratio.median:.2f} ({ratio.least:.2f}..{ratio.most:.2f}) of what "
                   f"strace --seccomp-bpf takes; bound {bound:.1f}: {held}")


def _while_listed(bench: Bench, site: Path) -> Table:
    """Calls that succeed while stand-ins exist: only `learn` makes them, so the load runs in the first round of a learn."""
    directory = site / "listed"
    directory.mkdir()
    for number in range(LISTED):
        (directory / f"{number:02}").write_text("x\n")
    results, counts, bounds = {}, {}, {}
    for kind in ("stat", "access"):
        name = f"{HITS:,} {kind} after a listing of {LISTED}"
        columns = [Column(tool.name, partial(bench.calls, tool, f"listed-{kind}", HITS, directory / "07", directory))
                   for tool in (NATIVE, *bench.learners)]
        results[name] = rounds(columns, bench.rounds(5))
        counts[name], bounds[name] = HITS, LISTED_BOUND
    return detail("Calls while placeholders exist (first round of a learn)", results, counts, bounds)

