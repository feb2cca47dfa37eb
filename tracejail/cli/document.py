"""What a result says to a program."""

from __future__ import annotations

import json

from tracejail.manifest.dump import plain
from tracejail.model import LearnResult


def as_json(result: LearnResult) -> str:
    """One document on one line."""
    manifest = result.manifest
    document = {
        "clean": result.clean,
        "status": result.status,
        "reason": result.reason,
        "hint": result.hint,
        "phase": result.phase,
        "rounds": result.rounds,
        "entries": len(manifest.entries),
        "bytes": sum(entry.size for entry in manifest.entries),
        "seconds": round(result.seconds, 3),
        "jail": manifest.jail,
        "manifest": result.manifest_path,
        "missing": plain(result.missing),
        "denied": plain(manifest.denied),
        "absent": plain(manifest.absent),
        "harmless": plain(result.harmless),
        "sockets": plain(manifest.sockets),
        "listens": list(manifest.listens),
        "command": plain(manifest.command),
        "mounts": plain(manifest.mounts),
        "warnings": list(manifest.warnings),
        "notes": list(result.notes),
        "misses": list(result.misses),
        "ended": result.ended,
        "output": _lines(result.output),
        "exercise_output": _lines(result.exercise_output),
        "log": _lines(result.log),
    }
    return json.dumps(document)


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "backslashreplace").splitlines()
