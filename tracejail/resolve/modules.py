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
    if not settings or not modules_in(entries):
        return frozenset()
    text = read_start(host, JailPath(settings[0]), _LARGEST)
    files = {f"libnss_{os.fsdecode(name)}.so.2" for name in account_modules(text, modules_in(entries))}
    spare = {real for path in entries if os.path.basename(path) in files for real in _hops(entries, path)}
    return frozenset(_with_libraries(host, entries, spare)) if spare else frozenset()


def _hops(entries: Mapping[str, Entry], path: str) -> list[str]:
    """A path, and what of the jail its last name leads to."""
    hops: list[str] = []
    while path in entries and path not in hops:
        hops.append(path)
        if entries[path].type is not EntryType.SYMLINK:
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), entries[path].target))
    return hops


def _with_libraries(host: HostRoot, entries: Mapping[str, Entry], spare: set[str]) -> set[str]:
    """With the libraries that are needed by what is spare and by nothing else. A needed library's name is a string of
    the file that needs it (DT_NEEDED), and so is one that is opened by its name."""
    texts: dict[str, bytes] = {}

    def text(path: str) -> bytes:
        if path not in texts:
            is_file = entries[path].type is EntryType.FILE and entries[path].content is Content.HOST
            data = read_start(host, JailPath(path), _LARGEST) if is_file else b""
            texts[path] = data if data.startswith(b"\x7fELF") else b""
        return texts[path]

    libraries = [path for path in entries if ".so" in os.path.basename(path)]
    pending = list(spare)
    while pending:
        data = text(pending.pop())
        for library in libraries:
            name = b"\0" + os.fsencode(os.path.basename(library)) + b"\0"
            if library not in spare and name in data:
                own = spare | set(_hops(entries, library))
                if not any(name in text(path) for path in entries if path not in own):
                    pending += own - spare
                    spare = own
    return spare
