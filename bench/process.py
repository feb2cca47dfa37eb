"""Processes of the benchmark: run to their end with a limit, in a clean environment, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "REPROZIP_USAGE_STATS": "off",
    "REPROUNZIP_USAGE_STATS": "off",
}
LIMIT = 120.0  # seconds that one run may take
_GRACE = 10.0  # seconds from SIGTERM to SIGKILL
_LOOK = 0.01  # seconds between two looks at the memory of a process


class Failed(Exception):
    """A run that did not come to a figure; the text says why and stands in the table."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    status: int
    seconds: float
    out: str
    err: str
    memory: int  # peak resident KiB of the process itself; 0 where nobody watched

    def checked(self) -> Finished:
        """Itself, where it succeeded. Raises Failed."""
        if self.status:
            raise Failed(f"status {self.status}: {_last_line(self.err) or _last_line(self.out) or 'no word'}")
        return self


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-80:].replace("|", "/") if lines else ""


def run(
    words: Sequence[str], *, environment: Mapping[str, str] | None = None, limit: float = LIMIT, directory: str = "/",
    watch_memory: bool = False,
) -> Finished:
    """Run something to its end. Raises Failed where it does not end in time or does not start."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        with started(words, environment=environment, directory=directory, out=out.fileno(), err=err.fileno()) as process:
            peak = _Memory(process.pid) if watch_memory else None
            status = ended(process, limit)
            seconds = time.perf_counter() - began
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
        return Finished(status, seconds, texts[0], texts[1], peak.ended() if peak else 0)


@contextlib.contextmanager
def started(
    words: Sequence[str], *, environment: Mapping[str, str] | None = None, directory: str = "/",
    out: int = subprocess.DEVNULL, err: int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own; asked to end at the end, and then killed with all of its session."""
    try:
        process = subprocess.Popen(
            list(words), cwd=directory, env={**ENVIRONMENT, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=out,
            stderr=err, start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"{words[0]}: {error.strerror}") from None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ended(process: subprocess.Popen[bytes], limit: float) -> int:
    """Its status once it has ended. Raises Failed. (wait() with a time-out sleeps up to 50 ms between two looks.)"""
    pidfd = os.pidfd_open(process.pid)
    try:
        if not select.select([pidfd], [], [], limit)[0]:
            raise Failed(f"not done in {limit:.0f} s")
    finally:
        os.close(pidfd)
    return process.wait()


class _Memory:
    """The peak resident memory of one process, looked at until it has ended (VmHWM only ever grows)."""

    def __init__(self, process: int) -> None:
        self._status = Path(f"/proc/{process}/status")
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            try:
                text = self._status.read_text("ascii", "replace")
            except OSError:
                return
            for line in text.splitlines():
                if line.startswith("VmHWM:"):
                    self._peak = int(line.split()[1])

    def ended(self) -> int:
        self._over.set()
        self._thread.join()
        return self._peak
