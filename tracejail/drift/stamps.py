"""What a look remembers of a jail, so that the next one need not read a file, nor even the manifest, where nothing moved.

A stamp is an object's inode number and the time of its last change of any kind (ctime), which the kernel sets and nobody
can set back but by the machine's clock: unlike size and mtime, it tells a file that was changed and given its old time.
Of a directory, where names come and go, it is mode and owner. As text: one JSON document.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field

from tracejail.model import Entry

from .compare import How

FORMAT = 1
_SETTLED = 2_000_000_000   # ns: what changed less than this ago may change again within one tick of the clock
Stamp = tuple[int, int]
GONE: Stamp = (0, -1)      # of what the program itself takes away
NEVER: Stamp = (-1, -1)    # of what is to be read at the next look, whatever its size and time


@dataclass(slots=True)
class Row:
    """An entry that was looked at: how, and the stamps of what was as it should be, on both sides; else NEVER."""

    jail_how: int
    jail: Stamp
    host_how: int
    host: Stamp
    meant: str = ""    # what the manifest said of it then


@dataclass(slots=True)
class Stamps:
    """Those of one manifest. `key` tells which manifest, jail and host they are of, `base` in which state the host's package
    data base was."""

    key: list[object] = field(default_factory=list)
    base: list[object] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)


def stamp(status: os.stat_result | None, how: int) -> Stamp:
    """The stamp of a stat(2), by how it is looked at."""
    if how == How.NOT:
        return 0, 0
    if status is None:
        return GONE
    if how == How.WHOLE:
        return status.st_ino, status.st_ctime_ns
    if how == How.TYPE:
        return stat.S_IFMT(status.st_mode), 0
    return status.st_mode, status.st_uid << 32 | status.st_gid


def meaning(entry: Entry) -> str:
    """What a manifest says of an entry, in few characters: stamps of another saying tell nothing."""
    return f"{entry.sha256[:16]}{entry.target} {entry.mode:o} {entry.uid} {entry.gid}"


def settled_stamp(one: Stamp, how: int, now_ns: int) -> Stamp:
    """A stamp that tells the state which was looked at from any later one, else NEVER."""
    return one if how != How.WHOLE or now_ns - one[1] > _SETTLED else NEVER


def dump_stamps(stamps: Stamps) -> str:
    """As text."""
    rows = [[path, row.jail_how, *row.jail, row.host_how, *row.host, row.meant] for path, row in stamps.rows.items()]
    return json.dumps(
        {"stamps": FORMAT, "key": stamps.key, "base": stamps.base, "rows": rows},
        separators=(",", ":"),
    )


def load_stamps(text: str) -> Stamps:
    """From text; empty ones where it is none, or of another format."""
    try:
        raw = json.loads(text)
        if raw["stamps"] != FORMAT:
            return Stamps()
        rows = {path: Row(jh, (ja, jb), hh, (ha, hb), meant) for path, jh, ja, jb, hh, ha, hb, meant in raw["rows"]}
        return Stamps(list(raw["key"]), list(raw["base"]), rows)
    except (ValueError, KeyError, TypeError):
        return Stamps()
