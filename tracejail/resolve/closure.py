"""What a program needs by what its files say: interpreters and libraries as ld.so(8) looks for them. Nothing is run,
and nothing outside the host root is looked at."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tracejail.model import EntryType, JailPath

from .directories import default_directories, is_musl, is_part_of_musl, library_words, musl_directories, platform_word
from .elf import ElfFacts, read_elf
from .host import HostRoot, inspect, open_source, read_start
from .loader import read_cache
from .scripts import interpreter_argument, interpreter_line

_SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Dependency(NamedTuple):
    """A file that another one needs. `how` is program, elf-interpreter, elf-needed, script-interpreter or symlink."""

    path: str
    needed_by: str
    how: str
    found: bool = True
    searched: tuple[str, ...] = ()


# The real path of an object, and the symlinks on the way to it; None if it is not there.
Follow = Callable[[str], tuple[str, list[str]] | None]


@dataclass(slots=True)
class _Image:
    """One program and its libraries: a loader looks for no name twice, wherever the second one would be found."""

    interpreter: str = ""
    loaded: set[str] = field(default_factory=set)   # names asked for, and sonames
    files: set[str] = field(default_factory=set)


class _Step(NamedTuple):
    """A file to be read: its real path, the path that it was loaded by ($ORIGIN is that one's directory), the search
    path that it inherits, and the image that it is part of."""

    path: str
    loaded_as: str
    inherited: tuple[str, ...]
    image: _Image


@dataclass(slots=True)
class _Closure:
    host: HostRoot
    follow: Follow
    cache: dict[str, list[str]]
    rows: dict[tuple[str, str], Dependency] = field(default_factory=dict)
    pending: list[_Step] = field(default_factory=list)
    programs: set[str] = field(default_factory=set)
    facts: dict[str, ElfFacts | None] = field(default_factory=dict)

    def note(self, path: str, needed_by: str, how: str) -> str | None:
        """Note a path with its links; its real path, None if it is not there."""
        place = self.follow(path)
        if place is None:
            return None
        real, links = place
        for link in links:
            self.rows.setdefault((link, "symlink"), Dependency(link, needed_by, "symlink"))
        self.rows.setdefault((real, how), Dependency(real, needed_by, how))
        return real

    def start(self, path: str, needed_by: str, how: str) -> bool:
        """Note a program, and read it later; false if it is not there."""
        real = self.note(path, needed_by, how)
        if real is not None and real not in self.programs:
            self.programs.add(real)
            self.pending.append(_Step(real, real, (), _Image()))
        return real is not None

    def _load(self, path: str, needed_by: str, how: str, inherited: tuple[str, ...], image: _Image) -> bool:
        real = self.note(path, needed_by, how)
        if real is None:
            return False
        facts = self.read_facts(real)
        if facts is not None and facts.soname:
            image.loaded.add(facts.soname)
        if real not in image.files:
            image.files.add(real)
            self.pending.append(_Step(real, path, inherited, image))
        return True

    def lost(self, name: str, needed_by: str, how: str, searched: list[str]) -> None:
        self.rows.setdefault((name, how), Dependency(name, needed_by, how, False, tuple(searched)))

    def read_facts(self, path: str) -> ElfFacts | None:
        if path not in self.facts:
            self.facts[path] = None
            node = inspect(self.host, JailPath(path))
            if node is not None and node.type is EntryType.FILE and not node.virtual:
                with os.fdopen(open_source(self.host, JailPath(path)), "rb") as stream:
                    self.facts[path] = read_elf(stream)
        return self.facts[path]

    def read(self, step: _Step) -> None:
        start = read_start(self.host, JailPath(step.path), 256)
        script = interpreter_line(start)
        if script is not None:
            self._script(step.path, script, interpreter_argument(start))
            return
        facts = self.read_facts(step.path) if start.startswith(b"\x7fELF") else None
        if facts is None:
            return
        image = step.image
        if facts.interpreter and not image.interpreter:
            image.interpreter = facts.interpreter
            if not self._load(facts.interpreter, step.path, "elf-interpreter", (), image):
                self.lost(facts.interpreter, step.path, "elf-interpreter", [facts.interpreter])
        musl = is_musl(facts, image.interpreter)
        rpath = tuple(_expand(facts.rpath, step.loaded_as, facts))
        runpath = tuple(_expand(facts.runpath, step.loaded_as, facts))
        if musl:
            # musl lets both kinds count for all that a file brings (load_library in ldso/dynlink.c).
            handed_on = (*(runpath or rpath), *step.inherited)
            directories = [*handed_on, *musl_directories(self.host, image.interpreter)]
            searches = [(directories, False)]
        else:
            # DT_RPATH, also of those above, unless this file has DT_RUNPATH, which is for its own needs alone (ld.so(8)).
            handed_on = (*(() if runpath else rpath), *step.inherited)
            searches = [(list(runpath or handed_on), True), (default_directories(facts), False)]
        for name in facts.needed:
            if name not in image.loaded and not (musl and is_part_of_musl(name)):
                image.loaded.add(name)
                self._library(name, step, facts, searches, handed_on)

    def _script(self, path: str, interpreter: str, argument: str) -> None:
        if not self.start(interpreter, path, "script-interpreter"):
            self.lost(interpreter, path, "script-interpreter", [interpreter])
            return
        if os.path.basename(interpreter) == "env":
            words = [word for word in argument.split() if not word.startswith("-") and "=" not in word]
            if words and "/" in words[0]:
                tried = [words[0]]
            else:
                tried = [f"{directory}/{word}" for word in words[:1] for directory in _SEARCH_PATH]
            if tried and not any(self.start(candidate, path, "script-interpreter") for candidate in tried):
                self.lost(words[0], path, "script-interpreter", tried)

    def _library(
        self, name: str, step: _Step, facts: ElfFacts, searches: list[tuple[list[str], bool]], handed_on: tuple[str, ...]
    ) -> None:
        """Look for a library; `searches` are directories, each list with whether the cache is asked after it."""
        candidates: list[str] = []
        if "/" in name:
            candidates = _expand((name,), step.loaded_as, facts)
        else:
            for directories, cached in searches:
                candidates += [f"{directory}/{name}" for directory in directories]
                candidates += self.cache.get(name, []) if cached else []
        for candidate in candidates:
            if self._fits(candidate, facts) and self._load(candidate, step.path, "elf-needed", handed_on, step.image):
                return
        self.lost(name, step.path, "elf-needed", candidates)

    def _fits(self, candidate: str, facts: ElfFacts) -> bool:
        """Whether a library is of the program's class and machine: the loader passes over others."""
        place = self.follow(candidate)
        if place is None:
            return False
        head = read_start(self.host, JailPath(place[0]), 20)
        return len(head) == 20 and head[:4] == b"\x7fELF" and head[4] == (2 if facts.bits == 64 else 1) and (
            facts.code is None or int.from_bytes(head[18:20], "little" if head[5] == 1 else "big") == facts.code
        )


def _expand(paths: tuple[str, ...], of: str, facts: ElfFacts) -> list[str]:
    origin = os.path.dirname(of)
    done = []
    for path in paths:
        # $LIB is the multiarch directory on Debian and lib64 elsewhere; both may be there.
        for lib in library_words(facts) if "LIB" in path else ("",):
            text = path
            for word, value in (("ORIGIN", origin), ("LIB", lib), ("PLATFORM", platform_word(facts))):
                text = text.replace("${" + word + "}", value).replace("$" + word, value)
            # `..` stays: after a symlink it is not the name before it that it takes away.
            if text.startswith("/"):
                done.append(text)
    return done


def closure(
    host: HostRoot, paths: list[str], follow: Follow, known: dict[str, ElfFacts | None] | None = None
) -> list[Dependency]:
    """All that `paths` need, breadth first, those that are not found too. `known` keeps what was read of files, from one
    call to the next. Raises InputOutputError."""
    cache: dict[str, list[str]] = {}
    rows = read_cache(read_start(host, JailPath("/etc/ld.so.cache"), 64 << 20))
    # Which processor the root will run on is not known: the libraries for any processor come first.
    for row in sorted(rows, key=lambda row: row.hwcap != 0):
        cache.setdefault(row.soname, []).append(row.path)
    work = _Closure(host, follow, cache, facts={} if known is None else known)
    for path in paths:
        if not work.start(path, "", "program"):
            work.lost(path, "", "program", [path])
    position = 0
    while position < len(work.pending):
        work.read(work.pending[position])
        position += 1
    return list(work.rows.values())
