"""Both engines come to the same manifest, byte for byte, in as many rounds: all programs and daemons of the other tests."""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

import pytest
import test_daemons as daemons
import test_programs as programs
from real import TOP, Site, call, learn

# Imported by name, since pytest looks for fixtures in this module.
from test_daemons import privilege_separation  # noqa: F401

_TRIES = 10


def _both(site: Site, *words: str, first_differs: str = "") -> None:
    """Which of two processes that run at once asks first for a directory may differ from run to run, by one engine too; a
    difference of the engines would be there in each run. Where that is known, who asked is not compared."""
    seen: dict[str, list[tuple[int, list[str]]]] = {"seccomp": [], "bpf": []}
    for _ in range(_TRIES):
        for engine, manifests in seen.items():
            rounds = learn(site, "--replace", "--engine", engine, *words)["rounds"]
            text = Path(f"{site.jail}.json").read_text("utf-8")
            if first_differs:
                text = re.sub(r'"because": \{[^}]*\}', '"because": {}', text)
            manifests.append((rounds, text.splitlines()))
        if any(manifest in seen["bpf"] for manifest in seen["seccomp"]):
            return
    ours, theirs = seen["bpf"][0], seen["seccomp"][0]
    assert ours[0] == theirs[0]
    pytest.fail("\n".join(difflib.unified_diff(theirs[1], ours[1], "seccomp", "bpf", n=0, lineterm="")))


@pytest.mark.parametrize("row", programs.ROWS, ids=lambda row: row.name)
def test_program(site: Site, row: programs.Row) -> None:
    site.fresh(row.prepare)
    _both(site, *row.options, *site.fill_all(row.words))


@pytest.mark.parametrize("row", daemons.ROWS, ids=lambda row: row.name)
def test_daemon(site: Site, row: daemons.Row, privilege_separation: None) -> None:  # noqa: F811
    site.fresh(row.prepare)  # type: ignore[arg-type]
    user = ["-u", row.user] if row.user else []
    options = [*user, *site.fill_all(row.options), "--exercise", daemons._exercise(site, row)]
    _both(site, *options, *site.fill_all(row.words), first_differs=row.first_differs)


# A process that bpf(2) is refused to, as container runtimes do it, and that then is the command behind it.
_WITHOUT_BPF = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tracejail.kernel.ptrace import X86_64
from tracejail.kernel.seccomp import Refuse, assemble, install, pack
install(pack(assemble({X86_64: {int(sys.argv[2]): Refuse(1)}})), True)
os.execv(sys.argv[3], sys.argv[3:])
"""
_BPF, _FANOTIFY = "321", "300"
_REFUSING = {
    "bpf": (sys.executable, "-c", _WITHOUT_BPF, str(TOP), _BPF),
    "fanotify": (sys.executable, "-c", _WITHOUT_BPF, str(TOP), _FANOTIFY),
    "pid namespace": ("/usr/bin/unshare", "--pid", "--fork", "--mount-proc"),
}


@pytest.mark.parametrize("what", _REFUSING)
def test_where_it_is_refused_auto_learns_all_the_same_and_says_why(site: Site, what: str) -> None:
    tool = [sys.executable, "-m", "tracejail", "learn", "-v", "-j", str(site.jail)]
    path = ("/usr/bin/env", f"PYTHONPATH={TOP}")
    command = ["/bin/sh", "-c", "pwd"]
    done = call([*path, *_REFUSING[what], *tool, *command])
    assert done.returncode == 0, done.stdout + done.stderr
    why = [line for line in done.stderr.splitlines() if line.startswith("engine seccomp, as ")]
    assert len(why) == 1 and what in why[0], done.stderr
    forced = call([*path, *_REFUSING[what], *tool, "--replace", "--engine", "bpf", *command])
    assert forced.returncode == 6, forced.stderr
    assert what in forced.stderr.splitlines()[-2]
    assert len(Path(f"{site.jail}.json").read_text("utf-8").splitlines()) > 10
