"""tmpfiles: what of a jail is no file, for systemd-tmpfiles (tmpfiles.d(5)): directories, links, devices, pipes, and the files
that it writes to, empty. Beneath `--root`, it makes again what a reboot or a clean-up took."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tracejail.errors import ExportError
from tracejail.model import Entry, EntryType

from .request import Request, parents_first

_TYPES = {EntryType.DIRECTORY: "d", EntryType.CHARACTER: "c+", EntryType.BLOCK: "b+", EntryType.FIFO: "p+"}


def tmpfiles(request: Request) -> Iterable[bytes]:
    """A line for each."""
    manifest = request.manifest
    known: dict[str, Entry] = {entry.path: entry for entry in manifest.entries}
    written = {place.path for place in manifest.written}
    lines = []
    for entry in parents_first(manifest):
        above = known.get(entry.path.rpartition("/")[0])
        if entry.type is EntryType.FILE and entry.path not in written:
            continue
        _refuse(entry, above)
        lines.append(_line(entry))
    for made in manifest.command.service.directories:
        if made.path not in known:
            lines.append(f"d {_path(made.path)} {made.mode:04o} {made.uid} {made.gid} -")
    return (os.fsencode(line) + b"\n" for line in lines)


def _refuse(entry: Entry, above: Entry | None) -> None:
    why = ""
    if entry.type is EntryType.SOCKET:
        why = "systemd-tmpfiles makes no sockets"
    elif entry.xattrs:
        why = f"it has the extended attribute {entry.xattrs[0][0]!r}"
    elif entry.type is EntryType.SYMLINK and (entry.uid or entry.gid):
        why = "systemd-tmpfiles makes links of root's only"
    elif above is not None and above.uid not in (0, entry.uid):
        why = "systemd-tmpfiles makes nothing in another user's directory"
    elif entry.path.startswith("/var/run/"):
        why = "systemd-tmpfiles would make it in /run"
    if why:
        raise ExportError(f"{entry.path!r}: {why}", "take the format tar or rsync")


def _line(entry: Entry) -> str:
    if entry.type is EntryType.SYMLINK:
        return f"L+ {_path(entry.path)} - - - - {_argument(entry.target)}"
    kind = _TYPES.get(entry.type, "f")
    tail = " {}:{}".format(*entry.device) if entry.device else ""
    return f"{kind} {_path(entry.path)} {entry.mode:04o} {entry.uid} {entry.gid} -{tail}"


def _path(path: str) -> str:
    """A path is taken as it is but for quotes, backslashes and percent signs; bytes need be no text."""
    if "\n" in path or "\r" in path:
        raise ExportError(f"{path!r}: a line of tmpfiles.d can't hold this name", "take the format tar or rsync")
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _argument(text: str) -> str:
    """The last field has escapes as in C and no quotes; a lone "-" would stand for none."""
    if text == "-":
        return "\\x2d"
    plain = (chr(byte) if 32 < byte < 127 and byte not in b"\\%" else _escape(byte) for byte in os.fsencode(text))
    return "".join(plain)


def _escape(byte: int) -> str:
    return {0x5C: "\\\\", 0x25: "%%"}.get(byte, f"\\x{byte:02x}")
