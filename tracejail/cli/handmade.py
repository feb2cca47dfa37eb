"""`import` and `adopt`: a manifest of a jail that was made without one."""

from __future__ import annotations

import difflib
import os
import shlex
import sys

from tracejail.errors import InputOutputError, UsageError
from tracejail.handmade import Made, adopt, import_list
from tracejail.importing.formats import LIST_FORMATS
from tracejail.model import TrialOptions

from .escape import escape


def formats_lines() -> list[str]:
    """A line a format of lists."""
    return [f"{name:<8} {row.about}" for name, row in LIST_FORMATS.items()]


def import_from(words: list[str], section: str, options: TrialOptions) -> int:
    """FORMAT FILE PROGRAM [ARGUMENT...]."""
    form, source = words[:2]
    if source.startswith("-") and source != "-":
        raise UsageError(f"{source}: where the file is to be", "options stand before the format; ./-NAME is a file")
    if form not in LIST_FORMATS:
        near = difflib.get_close_matches(form, LIST_FORMATS, 2, 0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"{form}: no such format of lists", f"{hint}there are: {', '.join(LIST_FORMATS)}")
    try:
        data = sys.stdin.buffer.read() if source == "-" else open(source, "rb").read()  # noqa: SIM115
    except OSError as error:
        raise InputOutputError(f"{source}: {os.strerror(error.errno or 0)}", "name a file that can be read") from None
    listed = LIST_FORMATS[form].read(data, source, section)
    if not listed.paths:
        raise UsageError(f"{source}: names no path", "see whether it is of this format")
    return _report(import_list(listed, source, options))


def adopt_jail(directory: str, options: TrialOptions) -> int:
    """DIR PROGRAM [ARGUMENT...]."""
    return _report(adopt(directory, options))


def _report(made: Made) -> int:
    manifest = made.manifest
    for line in made.notes:
        print(escape(f"note: {line}"))
    for table, what in ((manifest.denied, "the policy keeps out"), (manifest.sockets, "a socket, to be bound")):
        for note in table:
            print(escape(f"note: {note.path}: {what} ({note.reason})"))
    path = shlex.quote(made.path)
    print(escape(f"manifest: {made.path}: {len(manifest.entries)} entries; nothing of it is proven"))
    jail = shlex.quote(manifest.jail)
    if not os.path.isdir(manifest.jail):
        print(escape(f"to make the jail:           tracejail build {path}"))
    words = shlex.join(manifest.command.argv)
    print(escape(f"to see what it lacks:       tracejail verify {path}"))
    print(escape(f"to learn what it lacks:     tracejail learn --append -j {jail} -m {path} {words}"))
    return 0
