"""`trace` against strace(1): the same failing calls of the same program in the same jail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from real import Site, call, jailed, learn, tracejail

Failure = tuple[str, str, str]  # system call, path, errno


@dataclass(frozen=True)
class Row:
    """A program that is learned, and the words that are traced in its jail (the same by default)."""

    name: str
    learned: tuple[str, ...]
    traced: tuple[str, ...] = ()
    prepare: Callable[[Site], object] | None = None


def _text(site: Site) -> None:
    site.write("text", "one\ntwo\n")


ROWS = (
    Row("sh", ("/bin/sh", "-c", "pwd"), ("/bin/sh", "-c", "ls; cat /etc/passwd; cd /nowhere; pwd")),
    Row("ls", ("/bin/ls", "-l", "/etc/hostname"), ("/bin/ls", "-l", "/etc/hostname", "/etc/hosts", "/nowhere/x")),
    Row("cat", ("/bin/cat", "/etc/hostname"), ("/bin/cat", "/etc/hostname", "/etc/hostname/x", "/no such", "/dev/null")),
    Row("bash", ("/bin/bash", "-c", "true"), ("/bin/bash", "-c", "nosuch; [ -e /nowhere ]; : > /nodir/file; ls | cat")),
    Row("id", ("/usr/bin/id",)),
    Row("python", ("/usr/bin/python3", "-c", "import json"),
        ("/usr/bin/python3", "-c", "import json\ntry:\n import csv\nexcept ImportError: pass")),
    Row("perl", ("/usr/bin/perl", "-MPOSIX", "-e", "1"),
        ("/usr/bin/perl", "-e", "open F, '/nowhere'; unlink '/a'; mkdir '/b/c'; rename '/d', '/e'")),
    Row("sed", ("/bin/sed", "-n", "1p", "{D}/text"), ("/bin/sed", "-n", "1p", "{D}/text", "{D}/none", "relative"), _text),
    Row("find", ("/usr/bin/find", "{D}", "-name", "*.x"), ("/usr/bin/find", "{D}", "/lost", "-newer", "/lost/too"), _text),
    Row("sqlite3", ("/usr/bin/sqlite3", ":memory:", "select 1"), ("/usr/bin/sqlite3", "/no/base.db", "select 1")),
    Row("git", ("/usr/bin/git", "version"), ("/usr/bin/git", "-C", "/usr", "status")),
)

_TRUSS = re.compile(r'^(\w+)\((".*?")(?:, [A-Z_|]+)?\)\s+Err#\d+ (E\w+)$')
_STRACE = re.compile(r"^(\w+)\((.*)\)\s+= -1 (E[A-Z]+) \(")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_PATHS = {  # which of the strings are paths, where not all are
    "execve": slice(1),
    "getxattr": slice(1),
    "lgetxattr": slice(1),
    "setxattr": slice(1),
    "lsetxattr": slice(1),
    "symlink": slice(1, 2),
    "symlinkat": slice(1, 2),
}
_NOT_FILE_CALLS = {"connect", "bind", "sendto", "sendmsg", "sendmmsg"}  # strace counts them as %network


def _by_tracejail(site: Site, words: list[str]) -> set[Failure]:
    report = site.top / "truss"
    tracejail("trace", "-j", str(site.jail), "-o", str(report), *words)
    found = set()
    for line in report.read_text("utf-8").splitlines():
        match = _TRUSS.match(line)
        assert match or re.match(r"^\w+\(.*Err#", line), line
        if match is None:
            name = line.partition("(")[0]
            assert name in _NOT_FILE_CALLS, line
        elif match[1] not in _NOT_FILE_CALLS:
            found.add((match[1], match[2], match[3]))
    return found


def _joined(text: str) -> list[str]:
    """The lines of strace -f, without process ids, and each interrupted call in one line."""
    begun: dict[str, str] = {}
    lines = []
    for line in text.splitlines():
        process, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
        if resumed:
            rest = begun.pop(process) + resumed[1]
        lines.append(rest)
    return lines


def _by_strace(site: Site, words: list[str]) -> set[Failure]:
    report = site.top / "strace"
    call(["strace", "-f", "-s", "4096", "-e", "trace=%file", "-e", "signal=none", "-o", str(report), "chroot",
          str(site.jail), *words])
    lines = _joined(report.read_text("utf-8"))
    entered = next(number for number, line in enumerate(lines) if line.startswith("chroot("))
    begin = next(
        number for number, line in enumerate(lines) if number > entered and line.startswith(f'execve("{words[0]}"')
    )
    found = set()
    for line in lines[begin:]:
        match = _STRACE.match(line)
        if match is None:
            continue
        paths = _QUOTED.findall(match[2])[_PATHS.get(match[1], slice(2))]
        found.add((match[1], ", ".join(paths), match[3]))
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_same_failures_as_strace(site: Site, row: Row) -> None:
    site.fresh(row.prepare)  # type: ignore[arg-type]
    manifest = learn(site, *site.fill_all(row.learned))
    assert manifest["mounts"] == []
    words = site.fill_all(row.traced or row.learned)
    theirs = _by_strace(site, words)
    assert theirs
    assert _by_tracejail(site, words) == theirs


def test_trace_leaves_the_jail_as_it_is(site: Site) -> None:
    manifest = learn(site, "/bin/sh", "-c", "pwd")
    before = sorted(str(path) for path in Path(site.jail).rglob("*"))
    done = tracejail("trace", "-j", str(site.jail), "-o", str(site.top / "out"), "/bin/sh", "-c", "echo x >/file; exit 7")
    assert done.returncode == 7
    assert sorted(str(path) for path in Path(site.jail).rglob("*")) == before
    assert call(jailed(site, manifest, ["/bin/sh", "-c", "pwd"])).stdout == "/\n"
