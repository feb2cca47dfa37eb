"""Rounds: each column (native, then each tool) runs once in turn, so that a noisy moment meets all of them alike."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .process import Failed

OURS, PEERS = 6.0, 2.5  # seconds for all runs of a cell: a column that would go over it sits out the further rounds
SHORT = 0.1  # seconds

# A python3 that imports 300 modules took 65 ms natively right after CARE, and 23 ms after another native run.


@dataclass(frozen=True)
class Sample:
    """One run."""

    seconds: float      # what is compared
    memory: int = 0     # peak resident KiB of the tool
    whole: float = 0.0  # seconds with the start and the end of the tool
    part: int = 1       # only one in so many calls was made, and their time is taken so many times


@dataclass(frozen=True)
class Column:
    """A way to run a load."""

    name: str
    run: Callable[[], Sample]


@dataclass(frozen=True)
class Span:
    """A median with its smallest and largest."""

    median: float
    least: float
    most: float


def span(values: Sequence[float]) -> Span:
    return Span(statistics.median(values), min(values), max(values))


@dataclass
class Cell:
    """The runs of one column, by the number of their round; or why there are none."""

    name: str
    samples: dict[int, Sample] = field(default_factory=dict)
    failure: str = ""
    spent: float = 0.0

    def seconds(self) -> Span:
        return span([sample.seconds for sample in self.samples.values()])

    def runs(self) -> str:
        """How many, and whether of a part of the load."""
        parts = {sample.part for sample in self.samples.values()} - {1}
        return f"{len(self.samples)}" + "".join(f" of 1/{part}" for part in parts)

    def ratio(self, other: Cell) -> Span | None:
        """Each run over the other's run of the same round."""
        pairs = [(self.samples[at].seconds, other.samples[at].seconds) for at in self.samples if at in other.samples]
        return span([mine / theirs for mine, theirs in pairs if theirs > 0]) if pairs else None


def rounds(columns: Sequence[Column], runs: int) -> list[Cell]:
    """Run all columns in turn, `runs` times. The first is native: it is run in each round, and once before, uncounted, as
    the last column of a round may have left dirty pages and cold caches to the next; where it is short, before each column."""
    cells = [Cell(column.name) for column in columns]
    for number in range(runs):
        warm = _warmed(columns[0]) if len(columns) > 1 else 0.0
        for column, cell in zip(columns, cells, strict=True):
            budget = OURS if column.name.startswith("tracejail") else PEERS
            native = column is columns[0]
            if cell.failure or (number and not native and cell.spent * (number + 1) / number > budget):
                continue
            if not native and warm < SHORT:
                _warmed(columns[0])
            began = time.perf_counter()
            try:
                cell.samples[number] = column.run()
            except Failed as failed:
                cell.failure = str(failed)
            cell.spent += time.perf_counter() - began
    return cells


def _warmed(native: Column) -> float:
    began = time.perf_counter()
    with contextlib.suppress(Failed):
        native.run()
    return time.perf_counter() - began
