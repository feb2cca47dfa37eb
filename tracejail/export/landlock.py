"""Arguments of setpriv(1), util-linux 2.40 and later, ended by NUL: the program itself, with no jail, kept by Landlock to the
files of the manifest. No root is needed for it.

A rule is for a file, or for all that is beneath a directory (landlock(7)): so only directories that were asked for themselves, or
whose names were read, and places that are written have one. The paths are the host's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from tracejail.model import Entry, EntryType, Manifest, MissKind, Origin

from .request import Request, parents_first

_EXECUTED = (Origin.ARGV, Origin.SCRIPT_INTERPRETER, Origin.ELF_INTERPRETER)
_WRITTEN_FILE = "read-file,write-file,truncate"
_WRITTEN = f"{_WRITTEN_FILE},read-dir,remove-file,remove-dir,make-reg,make-dir,make-sym,make-sock,make-fifo,refer"


def landlock(request: Request) -> Iterator[bytes]:
    """Options, then the command."""
    words = ["--no-new-privs", "--landlock-access", "fs"]
    for access, path in rules(request.manifest):
        words += ["--landlock-rule", f"path-beneath:{access}:{path}"]
    for word in (*words, "--", *request.manifest.command.argv):
        yield os.fsencode(word) + b"\0"


def rules(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What is allowed, in the words of setpriv(1), and where: a file, or all that is beneath a directory."""
    listed = {entry.path.rpartition("/")[0] for entry in manifest.entries if entry.kind is MissKind.LISTING}
    for entry in parents_first(manifest):
        access = _access(entry, entry.path in listed)
        if access:
            yield access, entry.path
    for place in manifest.written:
        yield _WRITTEN if place.type is EntryType.DIRECTORY else _WRITTEN_FILE, place.path
    for mount in manifest.mounts:
        yield "read-file,read-dir", mount.path


def _access(entry: Entry, listed: bool) -> str:
    match entry.type:
        case EntryType.FILE:
            called = entry.because.syscall if entry.because else ""
            # A shell looks at a program before it executes it, and the first call is the one that is noted.
            executed = called.startswith("exec") or (entry.mode & 0o111 and not called.startswith("open"))
            return "read-file,execute" if entry.origin in _EXECUTED or executed else "read-file"
        case EntryType.DIRECTORY:
            return "read-dir" if listed or entry.origin is not Origin.PARENT else ""
        case EntryType.CHARACTER | EntryType.BLOCK | EntryType.FIFO:
            return _WRITTEN_FILE
    return ""  # a link leads to what has its own; connect(2) to a socket is not asked for
