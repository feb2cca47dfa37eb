"""Tables as Markdown that also reads well on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .rounds import Cell, Span


@dataclass
class Table:
    """A heading, words, and rows."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def text(self) -> str:
        lines = [f"## {self.title}", ""]
        if self.rows:
            widths = [max(len(row[at]) for row in [self.header, *self.rows]) for at in range(len(self.header))]
            rule = ["-" * width for width in widths]
            for row in (self.header, rule, *self.rows):
                lines.append("| " + " | ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) + " |")
            lines.append("")
        if self.words:
            lines += [*(f"- {line}" for line in self.words), ""]
        return "\n".join(lines)


def seconds(value: Span) -> str:
    """The median in a unit that fits, and the spread."""
    factor, unit = (1.0, "s") if value.median >= 1 else (1000.0, "ms")
    least, median, most = (f"{part * factor:.3g}" if part * factor < 1000 else f"{part * factor:.0f}"
                           for part in (value.least, value.median, value.most))
    return f"{median} {unit} ({least}..{most})"


def times(value: Span | None) -> str:
    return "" if value is None else f"{value.median:.2f} ({value.least:.2f}..{value.most:.2f})"


def detail(title: str, loads: Mapping[str, Sequence[Cell]], counts: Mapping[str, int], bounds: Mapping[str, float]) -> Table:
    """Every load and column: seconds, ratio to native, what a call costs more than native, and the bound on tracejail bpf."""
    header = ["load", "by", "runs", "time (least..most)", "times native", "least / least", "more a call", "bound"]
    if not counts:
        header.remove("more a call")
    table = Table(title, header)
    for load, cells in loads.items():
        native = cells[0]
        for cell in cells:
            first = load if cell is native else ""
            if not cell.samples:
                table.rows.append([first, cell.name, "0", f"failed: {cell.failure}", *[""] * (len(header) - 4)])
                continue
            ratio = None if cell is native else cell.ratio(native)
            more = best = ""
            if cell is not native and native.samples:
                best = f"{cell.seconds().least / native.seconds().least:.2f}"
            if ratio is not None and counts.get(load):
                each = (cell.seconds().median - native.seconds().median) / counts[load]
                more = f"{each * 1e6:.2f} us"
            table.rows.append([first, cell.name, cell.runs(), seconds(cell.seconds()), times(ratio), best,
                               *([more] if counts else []), _bound(cell, ratio, bounds.get(load))])
    return table


def _bound(cell: Cell, ratio: Span | None, bound: float | None) -> str:
    if ratio is None or bound is None or not (cell.name.startswith("tracejail") and cell.name.endswith("bpf")):
        return ""
    return f"{bound:.2f}: {'held' if ratio.median <= bound else 'NOT held'}"


def overview(title: str, loads: Mapping[str, Sequence[Cell]]) -> Table:
    """Median ratios to native only: a row for each load, a column for each tool."""
    names: list[str] = []
    for cells in loads.values():
        names += [cell.name for cell in cells[1:] if cell.name not in names]
    table = Table(title, ["load", "native", *names])
    for load, cells in loads.items():
        native = cells[0]
        if not native.samples:
            continue
        by_name = {cell.name: cell for cell in cells[1:]}
        row = [load, seconds(native.seconds()).split(" (")[0]]
        for name in names:
            cell = by_name.get(name)
            ratio = cell.ratio(native) if cell else None
            row.append(f"{ratio.median:.2f}" if ratio else "failed" if cell else "")
        table.rows.append(row)
    return table
