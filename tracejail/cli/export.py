"""`export` and `list`: which formats there are, and a manifest in one of them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping

from tracejail.errors import InputOutputError, UsageError
from tracejail.model import Manifest

from .escape import escape, escape_text
from .options import Value


def check_format(name: str) -> None:
    """Raises UsageError for a name that is no format."""
    from tracejail.export.formats import FORMATS

    if name not in FORMATS:
        import difflib

        near = difflib.get_close_matches(name, FORMATS, 3, 0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"{name}: no such format", f"{hint}tracejail export shows those that there are")


def export_to(name: str, manifest: Manifest, fields: Mapping[str, Value]) -> None:
    """Write a manifest in a format to --output, or to standard output. Raises ExportError, InputOutputError, UsageError."""
    from tracejail.export.formats import FORMATS
    from tracejail.exporting import export
    from tracejail.model import EntryType

    pieces = export(
        manifest, FORMATS[name], os.environ, str(fields.get("jail") or ""), str(fields.get("host_root") or ""),
        str(fields.get("name") or ""), bool(fields.get("packages")), _note,
    )
    # As private as the files that others may not read.
    private = FORMATS[name].holds and any(entry.type is EntryType.FILE and not entry.mode & 0o004 for entry in manifest.entries)
    write(pieces, str(fields.get("output") or "-"), private)


def _note(line: str) -> None:
    print(f"note: {escape(line)}", file=sys.stderr)


def write(pieces: Iterable[bytes], output: str, private: bool = False) -> None:
    """A file is there whole or not at all; `private`: a new one is nobody else's to read. Raises InputOutputError."""
    if output == "-":
        if sys.stdout.isatty():
            _show(pieces)
        else:
            _write_out(pieces)
        return
    try:
        _write_file(pieces, output, private)
    except OSError as error:
        raise InputOutputError(f"{output}: {error.strerror}", "name another file with -o; nothing was left there") from None


def _write_out(pieces: Iterable[bytes]) -> None:
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputOutputError(f"standard output: {error.strerror}", "-o FILE writes to a file") from None


def _write_file(pieces: Iterable[bytes], output: str, private: bool) -> None:
    if os.path.exists(output) and not os.path.isfile(output):  # a pipe or a device takes it as it comes
        with open(output, "wb") as stream:
            stream.writelines(pieces)
        return
    output = os.path.realpath(output)  # a link stays one
    made = f"{output}.{os.getpid()}.new"
    try:
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o666)
        with open(descriptor, "wb") as stream:
            with contextlib.suppress(FileNotFoundError, PermissionError):  # whose it was, and who may read it, stays so
                there = os.stat(output)
                os.fchmod(descriptor, there.st_mode & 0o777)
                os.fchown(descriptor, there.st_uid, there.st_gid)
            stream.writelines(pieces)
        os.replace(made, output)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(made)
        raise


def _show(pieces: Iterable[bytes]) -> None:
    """To a terminal: no escape sequence of a name reaches it, and no archive."""
    data = b"".join(pieces)
    if b"\0" in data:
        raise UsageError("this is not for a terminal", "-o FILE, or a pipe")
    print(escape_text(data), end="")
