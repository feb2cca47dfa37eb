"""`python -m bench [--runs N] [-o FILE] [SECTION...]`: prints the tables; a run of all sections also writes RESULTS.md."""

from __future__ import annotations

import argparse
import compileall
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import calls, learning, programs, scaling, start, upkeep
from .bench import Bench, opened
from .machine import facts
from .peers import NEEDED, gather, install, install_wished
from .process import TOP, Failed
from .table import Table

SECTIONS: dict[str, Callable[[Bench], Iterator[Table]]] = {
    "start": start.section,
    "calls": calls.section,
    "programs": programs.section,
    "learning": learning.section,
    "scaling": scaling.section,
    "upkeep": upkeep.section,
}
INTRODUCTION = """# What tracejail costs, beside native runs and its peers

Written by `make bench` (as root on Debian 12; one section alone: `python -m bench SECTION`, of {sections}).
Times are medians with the smallest and the largest. Each round runs native first and then each tool once, and a ratio is
that of a run and the native run of the same round: median, smallest, largest. Loads time themselves, so the start of a tool
is not in them; it has a table of its own. A tool that is slow runs fewer rounds: "runs" says how many; "of 1/10" says that it
made a tenth of the calls and that its time is shown times ten. "least / least" is the quickest run over the quickest native
run, which a busy machine disturbs less. Bounds are the project's own, and are judged by the median.
"""
PEERS = (
    "strace: `-f -e trace=%file -o /dev/null`, with and without `--seccomp-bpf`",
    "perf trace: `-e file,newfstatat,statx`; it stops nothing, can change nothing, and shows no path names here",
    "ReproZip: `reprozip trace`; for a tree also `reprozip pack`, and its DATA unpacked as root",
    "CDE (of 2011): follows open(2) but not openat(2), so its trees lack most of what a program of today opens",
    "CARE: with PROOT_NO_SECCOMP=1, as its tracees crash on this kernel otherwise; it copies while it watches",
    "jailkit: `jk_cp` of the program; ldd copy: the program and what ldd names",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What tracejail costs, beside native runs and peers.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--runs", type=int, help="rounds of each load (default: as each section has it)")
    parser.add_argument("-o", "--output", type=Path, help="write the tables there (default, for all sections: bench/RESULTS.md)")
    parser.add_argument("--whole", action="store_true", help="scaling: the full loads, however long they take")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.sections if name not in SECTIONS]
    if unknown or (chosen.runs is not None and chosen.runs < 1):
        parser.error(f"no section {unknown[0]}" if unknown else "--runs wants a number of 1 or more")
    if os.geteuid():
        parser.error("it wants root, as tracejail learn does")
    output = chosen.output or (None if chosen.sections else TOP / "bench/RESULTS.md")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started and made is taken away then
    try:
        text = _all_of(chosen.sections or list(SECTIONS), chosen.runs, chosen.whole)
    except KeyboardInterrupt:
        return 130
    except Failed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    if output:
        output.write_text(text, "utf-8")
        print(f"written to {output}")
    return 0


def _all_of(names: list[str], runs: int | None, whole: bool) -> str:
    began = time.monotonic()
    compileall.compile_dir(TOP / "tracejail", quiet=1)  # as pip install does
    install(NEEDED)
    without = install_wished()
    with opened(runs, whole) as bench:
        without += gather(bench)
        machine = Table("The machine", [], words=list(facts(bench.reprozip)))
        left_out = Table("Peers", [], words=[*PEERS, *(f"NOT to be had here: {line}" for line in without)])
        parts = [INTRODUCTION.format(sections=", ".join(SECTIONS))]
        for part in (machine.text(), left_out.text()):
            parts.append(part)
            print(part, flush=True)
        for name in names:
            for table in SECTIONS[name](bench):
                parts.append(table.text())
                print(parts[-1], flush=True)
    minutes = f"The whole run took {(time.monotonic() - began) / 60:.1f} minutes."
    print(minutes)
    return "\n".join([*parts, minutes, ""])


if __name__ == "__main__":
    sys.exit(main())
