"""Where a loader looks for libraries by itself: glibc's and musl's directories, and the words of a search path."""

from __future__ import annotations

import os
import re

from tracejail.model import JailPath

from .elf import ElfFacts
from .host import HostRoot, read_start

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
# AT_PLATFORM where it is not the machine's name (ELF_PLATFORM in arch/*/include/asm/elf.h).
_PLATFORMS = {"x86-64": "x86_64", "i386": "i686"}
_MUSL = re.compile(r"ld-musl-([^/]+)\.so\.1$")
_MUSL_DEFAULT = ("/lib", "/usr/local/lib", "/usr/lib")   # ldso/dynlink.c, when there is no path file
_MUSL_OWN = re.compile(r"lib(c|pthread|rt|m|dl|util|xnet)\.")   # `reserved` there: all of them are the loader itself


def default_directories(facts: ElfFacts) -> list[str]:
    """The directories that glibc's loader looks in last, by the file's machine and class (ld.so(8))."""
    triplet = _TRIPLETS.get((facts.machine, facts.bits))
    wide = ["/lib64", "/usr/lib64"] if facts.bits == 64 else ["/lib32", "/usr/lib32"]
    multiarch = [f"/lib/{triplet}", f"/usr/lib/{triplet}"] if triplet else []
    return [*multiarch, *wide, "/lib", "/usr/lib"]


def library_words(facts: ElfFacts) -> tuple[str, ...]:
    """What $LIB may stand for: Debian's word, and that of others."""
    triplet = _TRIPLETS.get((facts.machine, facts.bits))
    usual = "lib64" if facts.bits == 64 else "lib"
    return (f"lib/{triplet}", usual) if triplet else (usual,)


def platform_word(facts: ElfFacts) -> str:
    """What $PLATFORM stands for."""
    return _PLATFORMS.get(facts.machine, facts.machine)


def is_musl(facts: ElfFacts, interpreter: str) -> bool:
    """Whether musl's loader reads a file: by its program's interpreter, or by what it needs where that is not known."""
    return bool(_MUSL.search(interpreter)) or (
        not interpreter and any(name.startswith("libc.musl-") for name in facts.needed)
    )


def is_part_of_musl(name: str) -> bool:
    """Whether musl's loader takes a needed name for itself, and looks for no file."""
    return bool(_MUSL_OWN.match(name) or _MUSL.match(name))


def musl_directories(host: HostRoot, interpreter: str) -> list[str]:
    """musl's search path: /etc/ld-musl-ARCH.path, whose names are separated by newlines or colons, or its default."""
    match = _MUSL.search(interpreter)
    text = read_start(host, JailPath(f"/etc/ld-musl-{match.group(1)}.path"), 65536) if match else b""
    found = [os.fsdecode(word) for word in re.split(rb"[\n:]", text) if word.startswith(b"/")]
    return found or list(_MUSL_DEFAULT)
