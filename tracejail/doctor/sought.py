"""Programs that a shell looks for along PATH, with stat(2) and the like: it executes what it has found, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from .execution import nowhere
from .facts import GONE, Call, Facts
from .finding import Confidence, Finding

_LOOKS = frozenset(("stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2"))
_FEWEST = 2           # directories: what is looked for in one is looked for there
_NOT_FOUND = 127      # the status of a shell that has not found it


def sought(facts: Facts) -> Iterator[Finding]:
    """A name that was looked for in several directories of PATH, and is in none."""
    found: dict[tuple[int, str], list[Call]] = {}
    search = {os.path.normpath(directory) for directory in facts.search}
    for call in facts.failed(*GONE):
        directory, name = os.path.split(call.path)
        if call.name in _LOOKS and name and directory in search:
            found.setdefault((call.record.process, name), []).append(call)
    ends = {end.process: end.status for end in facts.run.ends} if facts.run else {}
    lines = facts.run.said.splitlines() if facts.run else []
    for (process, name), calls in found.items():
        if len({call.path for call in calls}) < _FEWEST:
            continue
        if any(facts.jail.way(f"{directory.rstrip('/')}/{name}").found for directory in search):
            continue
        told = any(name in line and "not found" in line for line in lines) or ends.get(process) == _NOT_FOUND
        for finding in nowhere(facts, name, [call.path for call in calls], tuple(calls)):
            # Scripts ask whether they have a program, and do without.
            yield finding if told else replace(finding, confidence=Confidence.POSSIBLE, quiet=True)
