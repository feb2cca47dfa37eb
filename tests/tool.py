"""Calling tracejail as a user does, and looking whether it left anything behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "tracejail"]


@dataclass(frozen=True)
class Done:
    """A finished call."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.out.strip(), f"no JSON; status {self.status}: {self.err}"
        document: dict[str, Any] = json.loads(self.out)
        return document


def tracejail(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 120) -> Done:
    """Run the command; its output as text."""
    return run_words([*COMMAND, *map(str, words)], cwd, env, timeout)


def run_words(
    words: list[str], cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 120
) -> Done:
    """Run any command; its output as text."""
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def two_lines(done: Done) -> None:
    """An error is one line with the cause and one that says what to do, and no traceback."""
    lines = done.err.strip().splitlines()
    assert len(lines) == 2, done.err
    assert lines[0].startswith("tracejail: ")
    assert lines[1].startswith("  ")
    assert "Traceback" not in done.err


def mounts() -> set[str]:
    """The mounts of this mount namespace, without their counters."""
    return {line.split(" - ")[0].split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def processes(mark: str) -> list[int]:
    """The processes whose command line holds `mark`, zombies and this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in line:
                found.append(int(entry.name))
    return found


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that another process does; one that has no /proc any more, or does not answer yet, has not done it."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def tracers(process: int) -> set[str]:
    """Who traces the threads of a process, "0" for nobody."""
    found = set()
    for path in Path(f"/proc/{process}/task").glob("*/status"):
        with contextlib.suppress(OSError):  # a thread may have ended
            found |= {line.split()[1] for line in path.read_text().splitlines() if line.startswith("TracerPid:")}
    return found


@contextlib.contextmanager
def watching(process: int, *words: str | Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The command that watches a process, while it does."""
    watcher = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd="/",
        env={**os.environ, **(env or {})},
    )
    try:
        until(lambda: tracers(process) - {"0"} or watcher.poll() is not None)
        assert watcher.poll() is None, watcher.communicate()
        assert watcher.stderr is not None
        assert b"watches" in watcher.stderr.readline()
        yield watcher
    finally:
        if watcher.poll() is None:
            watcher.kill()
        watcher.communicate()
