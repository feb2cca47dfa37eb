"""One page that needs no network: what is in the jail, why each path is, and what was refused.

The data is JSON in a script element that is no script, with <, > and & escaped, so that no name can end it; the page's own
script puts names in as text only. A byte that is no UTF-8 is there as \\udcXX, half a surrogate pair (PEP 383), and shown as
\\xXX, as is what can't be printed. The page allows itself by digest what it holds, and nothing else (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import hashlib
import html as markup
import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any

from tracejail.model import Entry, Manifest, PathNote
from tracejail.why import asked_for, reason

from .graph import bringer, by_path
from .request import Request
from .text import notation

# What could end the element or begin a comment in it; the rest is ASCII already.
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x7F: "\\u007f"}

_SCRIPTS = ("page_text.js", "page_map.js", "page.js")


def html(request: Request) -> Iterator[bytes]:
    """The page."""
    style, script = _part("page.css"), "".join(map(_part, _SCRIPTS))
    allowed = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    page = _part("page.html")
    for name, text in (
        ("POLICY", policy), ("TITLE", markup.escape(notation(request.title))), ("STYLE", style),
        ("DATA", _json(_data(request))), ("SCRIPT", script),
    ):
        # What was put in already is not looked at again: a name may be one of these marks.
        before, mark, page = page.partition(f"@{name}@")
        assert mark
        yield (before + text).encode()
    yield page.encode()


def _part(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).translate(_ESCAPES)


def _data(request: Request) -> dict[str, Any]:
    manifest = request.manifest
    packages = sorted({(entry.package, entry.version) for entry in manifest.entries})
    phases = list(dict.fromkeys(entry.phase for entry in manifest.entries))
    return {
        "title": request.title,
        "command": list(manifest.command.argv),
        "host": [manifest.host.distribution, manifest.host.kernel, manifest.host.architecture],
        "user": [manifest.command.user, manifest.command.uid, manifest.command.gid],
        "clean": manifest.clean,
        "packages": packages,
        "phases": phases,
        "entries": _entries(manifest, packages, phases),
        "written": [[place.path, place.type.value, place.use.value, f"{place.mode:04o}", place.uid, place.gid]
                    for place in manifest.written],
        "denied": _notes(manifest.denied),
        "absent": _notes(manifest.absent),
        "sockets": _notes(manifest.sockets),
        "listens": list(manifest.listens),
        "mounts": [[mount.path, mount.type] for mount in manifest.mounts],
        "exercises": list(manifest.command.exercises),
        "warnings": list(manifest.warnings),
    }


def _entries(manifest: Manifest, packages: list[tuple[str, str]], phases: list[str]) -> list[list[Any]]:
    """Each as a row; what page_text.js calls the columns is there."""
    numbers = {str(entry.path): number for number, entry in enumerate(manifest.entries)}
    package_numbers = {package: number for number, package in enumerate(packages)}
    phase_numbers = {phase: number for number, phase in enumerate(phases)}
    entries = by_path(manifest)
    return [
        [
            entry.path, entry.type.value, 0 if entry.hard_link else entry.size, f"{entry.mode:04o}", entry.uid, entry.gid,
            package_numbers[entry.package, entry.version], phase_numbers[entry.phase],
            numbers.get(bringer(entry, entries), -1), reason(entry), _leads(entry),
        ]
        for entry in manifest.entries
    ]


def _leads(entry: Entry) -> str:
    return entry.target or entry.hard_link


def _notes(notes: Iterable[PathNote]) -> list[list[str]]:
    return [[note.path, note.reason, asked_for(note.because)] for note in notes]
