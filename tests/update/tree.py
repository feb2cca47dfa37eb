"""A small host of one's own: a tree with a program, its libraries and a package data base, to be patched at will."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.tool import COMMAND, Done, run_words

TOP = Path(__file__).resolve().parents[2]
LIB = "usr/lib/x86_64-linux-gnu"
# Compiled once, somewhere, and not for each of some hundred calls.
_COMPILED = tempfile.mkdtemp(prefix="tracejail-update-")
atexit.register(shutil.rmtree, _COMPILED, True)
ENVIRONMENT = {"PYTHONPATH": str(TOP), "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": _COMPILED}

GREET = "const char *greet(void) { return %s; }\n"
HELLO = """
#include <stdio.h>
const char *greet(void);
int main(void) {
    char line[64] = "";
    FILE *conf = fopen("/etc/hello.conf", "r");
    if (!conf || !fgets(line, sizeof line, conf)) return 1;
    printf("%s %s", greet(), line);
    return 0;
}
"""


class Host:
    """The tree. `libgreet.so.1` is of the package libgreet1, the program of hello, the C library of libc6."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.packages = _packages()
        for name in ("usr/bin", LIB, "usr/lib64", "etc", "var/lib/dpkg/info"):
            (top / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            (top / name).symlink_to(f"usr/{name}")
        for name in ("libc.so.6", "ld-linux-x86-64.so.2"):
            shutil.copy2(os.path.realpath(f"/lib/x86_64-linux-gnu/{name}"), top / LIB / name)
        (top / "usr/lib64/ld-linux-x86-64.so.2").symlink_to("../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
        self.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n")
        self.write("etc/group", "root:x:0:\ndaemon:x:1:\n")
        self.write("etc/hello.conf", "world\n")
        self.write("etc/ld.so.conf", f"/{LIB}\n")
        self.greet("\"hello\"")
        self.compile(HELLO, "usr/bin/hello", f"{top}/{LIB}/libgreet.so.1.0")
        self.settle()

    @classmethod
    def there(cls, top: Path) -> Host:
        """A copy of one that was made."""
        host = cls.__new__(cls)
        host.top, host.packages = top, _packages()
        return host

    def write(self, path: str, text: str) -> None:
        (self.top / path).write_text(text)

    def compile(self, source: str, path: str, *words: str) -> None:
        subprocess.run(
            ["gcc", "-O1", "-x", "c", "-", "-x", "none", "-o", f"{self.top}/{path}", *words], input=source.encode(), check=True,
        )

    def library(self, name: str, version: str, source: str, *words: str) -> None:
        """`name` as a soname, a link to `name`.`version` as ldconfig makes it."""
        self.compile(source, f"{LIB}/{name}.{version}", "-shared", "-fPIC", f"-Wl,-soname,{name}", *words)
        link = self.top / LIB / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(f"{name}.{version}")

    def greet(self, word: str, version: str = "0", *words: str, before: str = "") -> None:
        """libgreet, whose greeting is the C expression `word`."""
        self.library("libgreet.so.1", version, before + GREET % word, *words)

    def settle(self) -> None:
        """Write the package data base, and the loader's cache."""
        status = ""
        for name, (version, paths) in self.packages.items():
            self.write(f"var/lib/dpkg/info/{name}.list", "".join(f"{path}\n" for path in paths))
            package, _, _ = name.partition(":")
            status += f"Package: {package}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
        self.write("var/lib/dpkg/status", status)
        subprocess.run(["/sbin/ldconfig", "-r", str(self.top)], check=True, capture_output=True)

    def upgrade(self, package: str, version: str, *more: str) -> None:
        """Another version of a package, with further paths."""
        self.packages[package] = version, [*self.packages.get(package, ("", []))[1], *more]
        self.settle()


def _packages() -> dict[str, tuple[str, list[str]]]:
    return {
        "hello": ("1.0", ["/usr/bin/hello", "/etc/hello.conf"]),
        "libgreet1": ("1.0-1", [f"/{LIB}/libgreet.so.1", f"/{LIB}/libgreet.so.1.0"]),
        "libc6:amd64": ("2.36", [f"/{LIB}/libc.so.6"]),
    }


def tracejail(*words: str | Path, timeout: float = 120) -> Done:
    """The command of this tree."""
    return run_words([*COMMAND, *map(str, words)], None, ENVIRONMENT, timeout)


def call(*words: str | Path) -> int:
    """The same in this process: for what is called hundreds of times."""
    from tracejail.cli.main import main

    before = sys.argv
    sys.argv = ["tracejail", *map(str, words)]
    try:
        return main()
    finally:
        sys.argv = before


def learn(host: Host, jail: Path, *words: str) -> Path:
    """A jail of its program; the path of the manifest."""
    done = tracejail("learn", "--from", host.top, "-j", jail, *words, "/usr/bin/hello")
    assert done.status == 0, done.err + done.out
    return Path(f"{jail}.json")


def says(jail: Path) -> str:
    """What the program says in its jail."""
    done = run_words(["chroot", str(jail), "/usr/bin/hello"])
    assert done.status == 0, done.err
    return done.out


def digest(top: Path) -> str:
    """Of all that is beneath a directory: names, types, modes, owners, bytes, times of files."""
    found = hashlib.sha256()
    for path in sorted([top, *top.rglob("*")]):
        status = path.lstat()
        found.update(f"{path.relative_to(top)} {status.st_mode} {status.st_uid} {status.st_gid}".encode())
        if stat.S_ISREG(status.st_mode):
            found.update(f"{status.st_mtime_ns}".encode() + path.read_bytes())
        elif stat.S_ISLNK(status.st_mode):
            found.update(os.readlink(path).encode())
    return found.hexdigest()


def litter(place: Path) -> list[str]:
    """What an update may have left behind: all hidden names but the memory of a look, and the former files."""
    left = [path.name for path in place.iterdir() if path.name.startswith(".") and not path.name.endswith((".seen", ".upkeep"))]
    for path in place.glob(".*.upkeep"):
        left += [f"{path.name}/{each.name}" for each in path.iterdir() if each.name != "former"]
    left += [str(path) for path in place.rglob("*") if path.name.endswith(".part")]
    return left
