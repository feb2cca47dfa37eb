"""The modules of account services, and what came into a jail for them alone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tracejail.model import Content, Entry, EntryType, JailPath

from .host import HostRoot, read_start
from .nsswitch import account_modules, modules_in

_LARGEST = 64 << 20  # bytes


def of_account_modules(host: HostRoot, entries: Mapping[str, Entry]) -> frozenset[str]:
    """The paths of modules that know accounts beside those of files, and serve nothing else; and of the libraries that no
    other file of the jail names."""
    settings = [path for path, entry in entries.items() if entry.content is Content.NSSWITCH]
    modules = modules_in(entries)
    if not settings or not modules:
        return frozenset()
    services = account_modules(read_start(host, JailPath(settings[0]), _LARGEST), modules)
    files = {f"libnss_{os.fsdecode(name)}.so.2" for name in services}
    return frozenset(_spare(host, entries, [path for path in entries if os.path.basename(path) in files]))


def _hops(entries: Mapping[str, Entry], path: str) -> list[str]:
    """A path, and what of the jail its last name leads to."""
    hops: list[str] = []
    while path in entries and path not in hops:
        hops.append(path)
        if entries[path].type is not EntryType.SYMLINK:
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), entries[path].target))
    return hops


def _spare(host: HostRoot, entries: Mapping[str, Entry], modules: list[str]) -> set[str]:
    """Those of the modules that no other file of the jail names, and the libraries that are named by them alone. A needed
    library's name is a string of the file that needs it (DT_NEEDED), as is that of one which is opened by name; the linker
    may have stored it as the end of a longer one."""
    texts: dict[str, bytes] = {}

    def text(path: str) -> bytes:
        if path not in texts:
            is_file = entries[path].type is EntryType.FILE and entries[path].content is Content.HOST
            is_elf = is_file and read_start(host, JailPath(path), 4) == b"\x7fELF"
            texts[path] = read_start(host, JailPath(path), _LARGEST) if is_elf else b""
        return texts[path]

    def name(path: str) -> bytes:
        return os.fsencode(os.path.basename(path)) + b"\0"

    libraries = [path for path in entries if ".so" in os.path.basename(path)]
    spare: set[str] = set()
    pending = modules
    while pending:
        path = pending.pop()
        own = spare | set(_hops(entries, path))
        if path not in spare and not any(name(path) in text(other) for other in entries if other not in own):
            spare = own
            needed = [library for library in libraries if any(name(library) in text(one) for one in _hops(entries, path))]
            pending += [library for library in needed if library not in spare]
    return spare
