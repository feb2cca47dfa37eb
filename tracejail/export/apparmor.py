"""A profile of AppArmor (apparmor.d(5)) for the program in its jail: each path by itself, and what it was seen to do with it.

Paths begin at the jail's directory, as AppArmor sees them from outside a chroot(2). What a manifest does not say is not
guessed: where the program has root's privileges, which of them it uses is left open, and a comment says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracejail.errors import ExportError
from tracejail.model import Entry, EntryType, Manifest, Origin

from .request import Request, parents_first

_SPECIAL = re.compile(r'[\\"*?\[\]{}^,@]')
_LIBRARY = re.compile(r"\.so(\.|$)")
_MAPPED = (Origin.ELF_NEEDED, Origin.ELF_INTERPRETER)
_EXECUTED = (Origin.ARGV, Origin.SCRIPT_INTERPRETER)
_LOW_PORT = re.compile(r".*:([1-9][0-9]{0,2}|10[01][0-9]|102[0-3])")


def apparmor(request: Request) -> Iterator[bytes]:
    """The profile. Raises ExportError for a name that a line can't hold."""
    manifest = request.manifest
    rules = [line for entry in parents_first(manifest) for line in _rules(entry, request.jail)]
    rules += [f"{_quoted(request.jail + note.path)} rw," for note in manifest.sockets]
    for place in manifest.written:
        whole = request.jail + place.path.rstrip("/")
        if place.type is EntryType.DIRECTORY:
            rules += [f"{_quoted(whole + '/')} rw,", f"{_quoted(whole + '/', '**')} rwkl,"]
        else:
            rules.append(f"{_quoted(whole)} rwk,")
    for mount in manifest.mounts:
        rules.append(f"{_quoted(request.jail + mount.path + '/', '**')} {'r' if mount.type == 'sysfs' else 'rw'},")
    name = _quoted(request.name or f"tracejail:{manifest.command.argv[0]}")
    lines = [
        f"profile {name} {_quoted(request.jail + manifest.command.argv[0])} flags=(attach_disconnected) {{",
        *(f"  {line}" for line in (*_privileges(manifest), *dict.fromkeys(rules))), "}", "",
    ]
    yield "\n".join(lines).encode("utf-8")


def _rules(entry: Entry, jail: str) -> list[str]:
    path = _quoted(jail + entry.path)
    match entry.type:
        case EntryType.DIRECTORY:
            return [f"{_quoted(jail + entry.path + '/')} r,"]
        case EntryType.FILE:
            return [f"{path} {_access(entry)},"]
        case EntryType.SYMLINK:
            return []  # what is looked at is where it leads to
        case _:
            return [f"{path} rw,"]


def _access(entry: Entry) -> str:
    called = entry.because.syscall if entry.because else ""
    if entry.origin in _EXECUTED or called.startswith("exec"):
        return "mrix"
    return "mr" if entry.origin in _MAPPED or called == "mmap" or _LIBRARY.search(entry.path.rpartition("/")[2]) else "r"


def _privileges(manifest: Manifest) -> list[str]:
    lines = []
    if not manifest.command.uid:
        lines += ["# Which of root's privileges it uses was not noted.", "capability,"]
    elif any(_LOW_PORT.fullmatch(address) for address in manifest.listens if not address.startswith("unix")):
        lines.append("capability net_bind_service,")
    if not manifest.syscalls or "socket" in manifest.syscalls:
        lines.append("network,")
    return [*lines, "signal,", "unix,"]


def _quoted(path: str, pattern: str = "") -> str:
    """A path between quotes, with nothing in it that is a pattern but what is given."""
    # Its parser takes a backslash before the closing quote for one that says that the quote is none.
    if path.endswith("\\") or any(ord(one) < 0x20 or one == "\x7f" or 0xD800 <= ord(one) <= 0xDFFF for one in path):
        raise ExportError(f"{path!r}: a profile of AppArmor can't say this name", "leave it out with --exclude, or rename it")
    escaped = _SPECIAL.sub(lambda found: "\\" + found[0], path)
    return f'"{escaped}{pattern}"'
