"""What a program needs by what its files say: interpreters and libraries as ld.so(8) looks for them. Nothing is run,
and nothing outside the host root is looked at."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from tracejail.model import EntryType, JailPath

from .elf import ElfFacts, read_elf
from .host import HostRoot, inspect, names, open_source, read_start
from .loader import read_cache
from .scripts import interpreter_argument, interpreter_line

# Debian's multiarch directories by machine, then the loader's own (ld.so(8), "Description", last step).
_TRIPLETS = {
    ("x86-64", 64): "x86_64-linux-gnu",
    ("x86-64", 32): "x86_64-linux-gnux32",
    ("i386", 32): "i386-linux-gnu",
    ("aarch64", 64): "aarch64-linux-gnu",
    ("arm", 32): "arm-linux-gnueabihf",
    ("riscv", 64): "riscv64-linux-gnu",
    ("powerpc64", 64): "powerpc64le-linux-gnu",
    ("s390", 64): "s390x-linux-gnu",
}
_SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class Dependency:
    """A file that another one needs. `how` is program, elf-interpreter, elf-needed, script-interpreter or symlink."""

    path: str
    needed_by: str
    how: str
    found: bool = True
    searched: tuple[str, ...] = ()


# The real path of an object, and the symlinks on the way to it; None if it is not there.
Follow = Callable[[str], tuple[str, list[str]] | None]


@dataclass(slots=True)
class _Closure:
    host: HostRoot
    follow: Follow
    cache: dict[str, list[str]]
    rows: dict[tuple[str, str], Dependency] = field(default_factory=dict)
    pending: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)  # real path, inherited RPATH
    done: set[str] = field(default_factory=set)

    def add(self, path: str, needed_by: str, how: str, inherited: tuple[str, ...] = ()) -> bool:
        """Note a path with its links, and read it later; false if it is not there."""
        place = self.follow(path)
        if place is None:
            return False
        real, links = place
        for link in links:
            self.rows.setdefault((link, "symlink"), Dependency(link, needed_by, "symlink"))
        self.rows.setdefault((real, how), Dependency(real, needed_by, how))
        if real not in self.done:
            self.done.add(real)
            self.pending.append((real, inherited))
        return True

    def lost(self, name: str, needed_by: str, how: str, searched: list[str]) -> None:
        self.rows.setdefault((name, how), Dependency(name, needed_by, how, False, tuple(searched)))

    def read(self, path: str, inherited: tuple[str, ...]) -> None:
        start = read_start(self.host, JailPath(path), 256)
        script = interpreter_line(start)
        if script is not None:
            self._script(path, script, interpreter_argument(start))
            return
        node = inspect(self.host, JailPath(path))
        if not start.startswith(b"\x7fELF") or node is None or node.type is not EntryType.FILE:
            return
        with os.fdopen(open_source(self.host, JailPath(path)), "rb") as stream:
            facts = read_elf(stream)
        if facts is None:
            return
        if facts.interpreter and not self.add(facts.interpreter, path, "elf-interpreter"):
            self.lost(facts.interpreter, path, "elf-interpreter", [facts.interpreter])
        # DT_RPATH of a loading file counts for what it loads, unless there is DT_RUNPATH (ld.so(8)).
        own = () if facts.runpath else tuple(_expand(facts.rpath, path, facts))
        for name in facts.needed:
            self._library(name, path, facts, own + inherited)

    def _script(self, path: str, interpreter: str, argument: str) -> None:
        if not self.add(interpreter, path, "script-interpreter"):
            self.lost(interpreter, path, "script-interpreter", [interpreter])
            return
        if os.path.basename(interpreter) == "env":
            words = [word for word in argument.split() if not word.startswith("-") and "=" not in word]
            if words and "/" not in words[0]:
                tried = [f"{directory}/{words[0]}" for directory in _SEARCH_PATH]
                if not any(self.add(candidate, path, "script-interpreter") for candidate in tried):
                    self.lost(words[0], path, "script-interpreter", tried)

    def _library(self, name: str, needed_by: str, facts: ElfFacts, rpath: tuple[str, ...]) -> None:
        if "/" in name:
            candidates = _expand((name,), needed_by, facts)
        else:
            triplet = _TRIPLETS.get((facts.machine, facts.bits), "")
            wide = ["/lib64", "/usr/lib64"] if facts.bits == 64 else ["/lib32", "/usr/lib32"]
            multiarch = [f"/lib/{triplet}", f"/usr/lib/{triplet}"] if triplet else []
            directories = [*rpath, *_expand(facts.runpath, needed_by, facts)]
            late = [*multiarch, *wide, "/lib", "/usr/lib", *_musl_directories(self.host, facts)]
            candidates = [f"{directory}/{name}" for directory in directories]
            candidates += self.cache.get(name, [])
            candidates += [f"{directory}/{name}" for directory in late]
        for candidate in candidates:
            if self._fits(candidate, facts) and self.add(candidate, needed_by, "elf-needed", rpath):
                return
        self.lost(name, needed_by, "elf-needed", candidates)

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
    library = "lib64" if facts.bits == 64 else "lib"
    triplet = _TRIPLETS.get((facts.machine, facts.bits))
    done = []
    for path in paths:
        # $LIB is the multiarch directory on Debian and lib64 elsewhere; both may be there.
        for lib in (f"lib/{triplet}", library) if triplet and "LIB" in path else (library,):
            text = path
            for word, value in (("ORIGIN", origin), ("LIB", lib), ("PLATFORM", facts.machine.replace("-", "_"))):
                text = text.replace("${" + word + "}", value).replace("$" + word, value)
            if text.startswith("/"):
                done.append(os.path.normpath(text))
    return done


def _musl_directories(host: HostRoot, facts: ElfFacts) -> list[str]:
    if "musl" not in facts.interpreter and not facts.needed:
        return []
    found = []
    for name in names(host, JailPath("/etc")) if inspect(host, JailPath("/etc")) else []:
        if name.startswith("ld-musl-") and name.endswith(".path"):
            text = read_start(host, JailPath(f"/etc/{name}"), 65536).decode("utf-8", "replace")
            found += [word for word in text.replace(":", "\n").split() if word.startswith("/")]
    return found


def closure(host: HostRoot, paths: list[str], follow: Follow) -> list[Dependency]:
    """All that `paths` need, breadth first, those that are not found too. Raises InputOutputError."""
    cache: dict[str, list[str]] = {}
    for row in read_cache(read_start(host, JailPath("/etc/ld.so.cache"), 64 << 20)):
        cache.setdefault(row.soname, []).append(row.path)
    work = _Closure(host, follow, cache)
    for path in paths:
        if not work.add(path, "", "program"):
            work.lost(path, "", "program", [path])
    position = 0
    while position < len(work.pending):
        work.read(*work.pending[position])
        position += 1
    return list(work.rows.values())
