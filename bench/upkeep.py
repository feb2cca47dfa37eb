"""What a look at jails costs: `status` of 5, 10 and 20 jails of 2,000 files each, at first, again, and in full; and an update."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .bench import Bench
from .process import run
from .rounds import Cell, Column, Sample, rounds
from .table import Table, seconds
from .tools import tracejail

JAILS, FILES, DIRECTORIES = 20, 2000, 40
BOUND = 3.0   # seconds for all of them, warm


@dataclass(frozen=True)
class Ground:
    """A host root, and as many jails of it as the bench looks at; each jail's manifest is in a directory of so many."""

    top: Path

    def manifests(self, count: int) -> Path:
        return self.top / f"manifests-{count}"


def section(bench: Bench) -> Iterator[Table]:
    counts = (JAILS // 4, JAILS // 2, JAILS)
    with bench.scratch() as folder:
        ground = _ground(folder, counts)
        time.sleep(2.1)   # what changed a moment ago is read once more
        table = Table(f"Status: jails of {FILES} files", ["jails", "first look", "again", "again, by file", "in full"])
        for count in counts:
            place = ground.manifests(count)
            cells = rounds([
                Column("tracejail status, first", partial(_first, place)),
                Column("tracejail status, again", partial(_timed, ["status", str(place)])),
                Column("tracejail status --full", partial(_timed, ["status", "--full", str(place)])),
            ], bench.rounds(3))
            first, again, full = cells
            each = f"{again.seconds().median / (count * FILES) * 1e6:.0f} us"
            table.rows.append([str(count), _shown(first), _shown(again), each, _shown(full)])
            if count == JAILS:
                held = all(cell.seconds().median <= BOUND for cell in (first, again))
                word = "held" if held else "NOT held"
                table.words.append(f"bound for {count} jails, at first and again: {BOUND:.0f} s: {word}")
        yield table


def _shown(cell: Cell) -> str:
    return seconds(cell.seconds()) if cell.samples else f"failed: {cell.failure}"


def _timed(words: list[str]) -> Sample:
    return Sample(run(tracejail(*words)).checked().seconds)


def _first(place: Path) -> Sample:
    for memory in place.glob(".*.seen"):
        memory.unlink()
    return _timed(["status", str(place)])


def _ground(top: Path, counts: tuple[int, ...]) -> Ground:
    ground = Ground(top)
    host = top / "host"
    (host / "var/lib/dpkg/info").mkdir(parents=True)
    status = ""
    for number in range(JAILS):
        entries: list[dict[str, object]] = [_entry(f"/p{number}", "dir", "0755")]
        listed = []
        (host / f"p{number}").mkdir()
        for directory in range(DIRECTORIES):
            path = f"/p{number}/d{directory}"
            (host / path[1:]).mkdir()
            entries.append(_entry(path, "dir", "0755"))
            for each in range(FILES // DIRECTORIES):
                name = f"{path}/lib{each}.so.1"
                data = f"{name}\n".encode() * (40 if each % 5 else 1000)
                file = host / name[1:]
                file.write_bytes(data)
                entries.append({
                    **_entry(name, "file", "0644"), "size": len(data), "mtime_ns": file.stat().st_mtime_ns,
                    "sha256": hashlib.sha256(data).hexdigest(), "package": f"p{number}", "version": "1.0",
                })
                listed.append(name)
        (host / f"var/lib/dpkg/info/p{number}.list").write_text("".join(f"{name}\n" for name in listed))
        status += f"Package: p{number}\nVersion: 1.0\nArchitecture: amd64\n\n"
        manifest = {
            "tracejail": 1, "command": {"argv": ["/bin/x"]}, "jail": str(top / f"jail{number}"), "clean": True,
            "host": {"root": str(host), "distribution": "", "kernel": "", "architecture": "x86_64"},
            "entries": sorted(entries, key=lambda entry: str(entry["path"])),
        }
        for count in counts:
            if number < count:
                ground.manifests(count).mkdir(exist_ok=True)
                (ground.manifests(count) / f"{number:02}.json").write_text(json.dumps(manifest))
        run(tracejail("build", ground.manifests(JAILS) / f"{number:02}.json")).checked()
    (host / "var/lib/dpkg/status").write_text(status)
    return ground


def _entry(path: str, kind: str, mode: str) -> dict[str, object]:
    because = {"program": "/bin/x", "syscall": "openat", "spelled": path}
    return {"path": path, "type": kind, "mode": mode, "uid": 0, "gid": 0, "origin": "miss", "because": because, "kind": "absent"}
