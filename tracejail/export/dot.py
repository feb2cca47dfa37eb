"""Who brought what, as a graph for dot(1): a node for each file with the links that lead to it, an edge from what brought it.

With --packages a node is a package. Directories, and links to them, are left out: all that they brought is beneath them. A
name is in the notation of text.py, and then as a label of dot has it: \\" and \\\\, and &amp; for the ampersand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tracejail.model import Entry, Origin

from .graph import Package, bringer, by_path, is_place, package_edges, packages, things
from .request import Request
from .text import notation

_HEAD = """digraph jail {
 graph [rankdir=LR, ranksep=1.2, nodesep=0.12, charset="UTF-8", fontname="sans-serif"];
 node [shape=box, style="rounded,filled", fillcolor="#f4f2ee", color="#8a857b", fontname="sans-serif", fontsize=10, height=0.2];
 edge [color="#8a857b", fontname="sans-serif", fontsize=8, arrowsize=0.6];
"""
_RUN = "run"
# What an edge says: a file is asked for by a call unless it says otherwise.
_LOOKS = {
    Origin.ELF_NEEDED: ' [label="needs"]',
    Origin.ELF_INTERPRETER: ' [label="loader", style=bold]',
    Origin.SCRIPT_INTERPRETER: ' [label="interpreter", style=bold]',
    Origin.LISTING: " [style=dashed]",
}


def dot(request: Request) -> Iterator[bytes]:
    """The graph."""
    yield _HEAD.encode()
    yield f" {_RUN} [{_label([' '.join(request.manifest.command.argv)])}, shape=cds, fillcolor=\"#cfe3f7\"];\n".encode()
    for line in _packages(request) if request.packages else _files(request):
        yield f" {line};\n".encode()
    yield b"}\n"


def _files(request: Request) -> Iterator[str]:
    entries = by_path(request.manifest)
    found = {end: names for end, names in things(request.manifest).items() if not is_place(entries[end], entries)}
    nodes = {entry.path: f"n{number}" for number, names in enumerate(found.values()) for entry in names}
    for end, names in found.items():
        # The file itself first, then the links, which are what was asked for.
        lines: list[str] = [end, *sorted(entry.path for entry in names if entry.path != end)]
        if entries[end].size:
            lines.append(_bytes(entries[end].size))
        look = ', fillcolor="#cfe3f7"' if any(entry.origin is Origin.ARGV for entry in names) else ""
        yield f"{nodes[entries[end].path]} [{_label(lines)}{look}]"
    edges: dict[tuple[str, str], Origin] = {}
    for names in found.values():
        for entry in names:
            above = bringer(entry, entries)
            if above and nodes[entries[above].path] != nodes[entry.path]:
                edges.setdefault((nodes[entries[above].path], nodes[entry.path]), entry.origin)
            elif entry.origin is Origin.ARGV:
                edges.setdefault((_RUN, nodes[entry.path]), entry.origin)
    yield from (f"{above} -> {below}{_LOOKS.get(origin, '')}" for (above, below), origin in edges.items())


def _packages(request: Request) -> Iterator[str]:
    found = packages(request.manifest)
    nodes: dict[Package, str] = {package: f"p{number}" for number, package in enumerate(found)}
    for package, entries in found.items():
        count = f"{len(entries)} {'path' if len(entries) == 1 else 'paths'}, {_bytes(_total(entries))}"
        yield f"{nodes[package]} [{_label([' '.join(filter(None, package)) or 'no package', count])}]"
    started = {(entry.package, entry.version if entry.package else "") for entry in request.manifest.entries
               if entry.origin is Origin.ARGV}
    yield from (f"{_RUN} -> {nodes[package]}" for package in sorted(started) if package in nodes)
    for edge, paths in package_edges(request.manifest).items():
        yield f'{nodes[edge[0]]} -> {nodes[edge[1]]} [label="{paths}"]'


def _label(lines: Iterable[str]) -> str:
    """The lines, each at the left."""
    return 'label="' + "".join(_escaped(notation(line)) + "\\l" for line in lines) + '"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _total(entries: list[Entry]) -> int:
    return sum(entry.size for entry in entries if not entry.hard_link)


def _bytes(size: int) -> str:
    number, unit = float(size), 0
    while number >= 999.5 and unit < 4:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {('B', 'kB', 'MB', 'GB', 'TB')[unit]}" if unit else f"{size} B"
