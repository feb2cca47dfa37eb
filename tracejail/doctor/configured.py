"""What the configuration of a daemon that runs already names, and its root lacks. It has been read before anybody looked, so
that no call tells of it: its files do, those that the program or its arguments name and those that these name."""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from tracejail.model import EntryType

from .facts import Facts, Tree
from .finding import Action, Confidence, Finding, Kind
from .remedies import bring, bring_tree

_PLACE = "/etc/"
_PROGRAM = 16 << 20      # bytes of a program in which names are looked for
_FILE = 1 << 20          # bytes of a file of configuration
_MOST = 64               # such files
_IN_PROGRAM = re.compile(rb"/etc/[\w./+@-]*\w")
_WORD = re.compile(r"[\w.+@~/*?\[\]-]*[./*][\w.+@~/*?\[\]-]*")
_GLOB = re.compile(r"[*?[]")
_INCLUDES = re.compile(r"includ", re.IGNORECASE)
_COMMENTS = ("#", ";", "//")


class _Name(NamedTuple):
    """A word of a file: which file, which line, and the path that it names."""

    file: str
    line: str
    path: str


def configured(facts: Facts) -> Iterator[Finding]:
    """Directories whose files it includes, and that are not there or empty; its own files, to be read at the next reload."""
    if facts.held is None:
        return
    told: set[str] = set()
    files = list(_files(facts))
    for path in files:
        beneath = path.startswith(f"{facts.held.root}/")   # named from outside, and to be had from within by another name
        lacking = facts.jail.way(path).found is None and facts.host.way(path).found is not None
        if lacking and not beneath and _in_arguments(facts, path):
            yield Finding(
                "configuration", Confidence.POSSIBLE, path,
                f"{path}, which the arguments of {facts.program} name, is not in its root: it can't be read anew",
                bring(facts, path), evidence=(f"/proc/PID/cmdline: {' '.join(facts.argv)[:200]}",), quiet=True,
            )
    for name in _names(facts, files):
        finding = _directory(facts, name)
        if finding is not None and finding.path not in told:
            told.add(finding.path)
            yield finding


def _directory(facts: Facts, name: _Name) -> Finding | None:
    """What is lacking where a pattern is expanded, or a directory read."""
    path, pattern = posixpath.split(name.path)
    here, host = facts.jail.way(path).found, facts.host.way(path).found
    if host is None or host.type is not EntryType.DIRECTORY or host.foreign or host.mode & 0o1000:
        return None
    lacking = _matching(facts.host, path, pattern)
    if not lacking or _matching(facts.jail, path, pattern):
        return None
    shown = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
    names = facts.jail.names(path)
    what = "is not in its root" if here is None else f"has no {pattern} in its root" if names else "is empty in its root"
    is_read = pattern != "*" or path.endswith(".d") or _INCLUDES.search(name.line)
    said = f"{name.file}: {name.line.strip()[:200]}" if name.line else f"{name.file} has this name in it"
    return Finding(
        "include-directory" if here is None else "empty-directory",
        Confidence.LIKELY if is_read and name.line else Confidence.POSSIBLE, path,
        f"{path} {what}; {name.file} names it, and on the host it has {shown}",
        bring_tree(facts, path) if here is None else (Action(Kind.TREE, host.path),),
        evidence=(said, *((here.standing,) if here else ())), weight=5, quiet=True,
    )


def _matching(tree: Tree, directory: str, pattern: str) -> list[str]:
    return sorted(
        name for name in tree.names(directory)
        if fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))
    )


def _in_arguments(facts: Facts, path: str) -> bool:
    return any(word == path or word.endswith(f"={path}") or (word[:1] == "-" and word[2:] == path) for word in facts.argv[1:])


def _files(facts: Facts) -> Iterator[str]:
    """Those that its arguments name, and its program."""
    found: dict[str, None] = {}
    for word in facts.argv[1:]:
        for part in (word, word.partition("=")[2], word[2:] if word[:1] == "-" else ""):
            if part and part != "/" and "\n" not in part:
                found[posixpath.normpath(posixpath.join(facts.directory, part))] = None
    program = facts.jail.start(facts.program, _PROGRAM) or facts.host.start(facts.program, _PROGRAM)
    for match in _IN_PROGRAM.finditer(program):
        found[match[0].decode("ascii", "replace")] = None
    for path in found:
        node = facts.jail.way(path).found or facts.host.way(path).found
        if node is not None and node.type is EntryType.FILE and not node.foreign:
            yield path


def _names(facts: Facts, files: list[str]) -> Iterator[_Name]:
    """Patterns and directories of the files, and of those that these include."""
    program = facts.jail.start(facts.program, _PROGRAM) or facts.host.start(facts.program, _PROGRAM)
    for match in _IN_PROGRAM.finditer(program):
        place = match[0].decode("ascii", "replace")
        if place.endswith(".d"):  # a program has names of much that it never looks at
            yield from _named(facts, facts.program, "", place)
    pending, seen = deque(files[:_MOST]), set(files)
    while pending:
        file = pending.popleft()
        for line, place in _places(facts, file):
            yield from _named(facts, file, line, place)
            directory, last = posixpath.split(place)
            more = [f"{directory}/{name}" for name in _matching(facts.jail, directory, last)] if _GLOB.search(last) else [place]
            for each in more:
                if each in seen or len(seen) > _MOST or not _is_near(file, each):
                    continue
                node = facts.jail.way(each).found
                if node is not None and node.type is EntryType.FILE:
                    seen.add(each)
                    pending.append(each)


def _named(facts: Facts, file: str, line: str, place: str) -> Iterator[_Name]:
    """A pattern as it is, a directory as the pattern for all that is in it."""
    directory, last = posixpath.split(place)
    if not _is_near(file, place) or _GLOB.search(directory):
        return
    if _GLOB.search(last):
        yield _Name(file, line, place)
        return
    host = facts.host.way(place).found
    if host is not None and host.type is EntryType.DIRECTORY:
        yield _Name(file, line, f"{place}/*")


def _is_near(file: str, place: str) -> bool:
    """Whether a path is of the configuration: of /etc, or beneath the directory of the file that names it. What lies elsewhere
    is data, and may be empty."""
    above = posixpath.dirname(file)
    return place.startswith(_PLACE) or (above != "/" and place.startswith(above + "/"))


def _places(facts: Facts, file: str) -> Iterator[tuple[str, str]]:
    """The lines of a file of text, and the paths in them; relative ones are of its directory."""
    data = facts.jail.start(file, _FILE)
    if b"\0" in data:
        return
    for line in data.decode("utf-8", "replace").splitlines():
        if not line.lstrip().startswith(_COMMENTS):
            for word in dict.fromkeys(_WORD.findall(line)):
                yield line, posixpath.normpath(posixpath.join(posixpath.dirname(file), word))
