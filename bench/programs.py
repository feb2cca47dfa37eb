"""Real programs in which nothing is missing, each timed inside its watcher; and nginx under load."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .bench import Bench
from .process import Failed, run, started
from .rounds import Column, Sample, rounds
from .sites import answers, nginx_site
from .table import Table, detail, overview
from .tools import NATIVE, Tool

FILES, MODULES, SOURCES, REQUESTS = 20_000, 300, 50, 20_000
BOUND = 1.20
LIMIT = 60.0
_OLD = 1_600_000_000  # files older than git's index are not looked into


def section(bench: Bench) -> Iterator[Table]:
    site = bench.work / "programs"
    site.mkdir()
    results = {}
    loads = {
        f"git status, {FILES:,} files": _repository(site),
        f"python3 imports {MODULES} modules": _modules(site),
        "find /usr": ["/usr/bin/find", "/usr"],
        f"compile {SOURCES} C files": _sources(site),
    }
    for name, words in loads.items():
        run(words, limit=LIMIT).checked()  # what is read once lies in the page cache for all
        program = bench.load_words("run", 1, *words)
        columns = [Column(tool.name, partial(bench.timed, tool, program, LIMIT)) for tool in (NATIVE, *bench.watchers)]
        results[name] = rounds(columns, bench.rounds(5))
    served = f"nginx, {REQUESTS:,} requests"
    columns = [Column(tool.name, partial(_served, bench, tool)) for tool in (NATIVE, *bench.watchers)]
    results[served] = rounds(columns, bench.rounds(5))
    yield overview("Programs: times native", results)
    yield detail("Programs, each", results, {}, dict.fromkeys(results, BOUND))


def _repository(site: Path) -> list[str]:
    top = site / "repository"
    for directory in range(FILES // 100):
        folder = top / f"{directory:03}"
        folder.mkdir(parents=True)
        for number in range(100):
            file = folder / f"{number:02}.txt"
            file.write_text(f"{directory} {number}\n")
            os.utime(file, (_OLD, _OLD))
    git = ["/usr/bin/git", "-C", str(top), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        run([*git, *words]).checked()
    return ["/usr/bin/git", "-C", str(top), "status"]


def _modules(site: Path) -> list[str]:
    top = site / "modules"
    top.mkdir()
    for number in range(MODULES):
        (top / f"module{number}.py").write_text(f"VALUE = {number}\n\n\ndef value():\n    return VALUE\n")
    names = ", ".join(f"module{number}" for number in range(MODULES))
    return ["/usr/bin/python3", "-c", f"import sys; sys.path.insert(0, {str(top)!r}); import {names}"]


def _sources(site: Path) -> list[str]:
    top = site / "sources"
    top.mkdir()
    for number in range(SOURCES):
        (top / f"part{number}.c").write_text(
            "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
            f"int part{number}(const char *text)\n"
            "{ char *copy = strdup(text); int n = printf(\"%s\\n\", copy); free(copy); return n; }\n"
        )
    return ["/bin/sh", "-c", f'cd {top} && for source in *.c; do gcc -O1 -c "$source" || exit 1; done']


def _served(bench: Bench, tool: Tool) -> Sample:
    """What ab takes for its requests; nginx is the child of the watcher. Raises Failed."""
    with bench.scratch() as folder:
        server = nginx_site(folder)
        with started(tool.words(server.command, folder), environment=tool.environment, directory=str(folder)) as watcher:
            answers(server.port, watcher)
            client = ["ab", "-q", "-k", "-c", "4", "-n", str(REQUESTS), f"http://127.0.0.1:{server.port}/"]
            done = run(client, limit=LIMIT).checked()
            _stop(folder / "pid")
            with contextlib.suppress(subprocess.TimeoutExpired):
                watcher.wait(10)
    took = re.search(r"Time taken for tests:\s+([\d.]+) seconds", done.out)
    good = re.search(r"Complete requests:\s+(\d+)", done.out)
    bad = "Non-2xx" in done.out or not re.search(r"Failed requests:\s+0\n", done.out)
    if bad or not took or not good or int(good[1]) != REQUESTS:
        raise Failed("requests failed")
    return Sample(float(took[1]))


def _stop(pid_file: Path) -> None:
    """Tell the master of nginx to end; a watcher that is told itself might leave it running."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text("ascii")), 15)
            return
        time.sleep(0.01)
