"""sysusers: the accounts of a jail, for systemd-sysusers (sysusers.d(5)), with their numbers: the jail's files have those.

They are read from the jail's own /etc/passwd and /etc/group. Passwords are no part of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from tracejail.errors import ExportError
from tracejail.model import EntryType, Manifest

from .request import Request

# What systemd takes for a name where it makes accounts.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")
_PLACE = re.compile(r"/[!-9;-~]*")
_HINT = "list these accounts by hand, or learn it with --accounts all"


def sysusers(request: Request) -> Iterable[bytes]:
    """Groups, then users, then who is in which group."""
    manifest = request.manifest
    groups, users = _rows(request, "/etc/group", 4), _rows(request, "/etc/passwd", 7)
    if not groups and not users:
        lines = _known(manifest)
    else:
        numbers = {_number(row[2], row[0]) for row in groups}
        lines = [f"g {_name(row[0])} {_number(row[2], row[0])}" for row in groups]
        for name, _, uid, gid, about, home, shell in users:
            if _number(gid, name) not in numbers:
                raise ExportError(f"{name!r}: its group {gid} is none of the jail's", _HINT)
            fields = [_text(about, name), _place(home, name), _place(shell, name)]
            lines.append(f"u {_name(name)} {_number(uid, name)}:{_number(gid, name)} {' '.join(fields)}".rstrip("- "))
        known = {row[0] for row in users}
        lines += [f"m {user} {row[0]}" for row in groups for user in row[3].split(",") if user in known]
    return [os.fsencode("\n".join([*lines, ""]))]


def _rows(request: Request, path: str, fields: int) -> list[list[str]]:
    entry = next((each for each in request.manifest.entries if each.path == path and each.type is EntryType.FILE), None)
    if entry is None:
        return []
    rows = [os.fsdecode(line).split(":") for line in b"".join(request.contents(entry)).split(b"\n") if line]
    for row in rows:
        if len(row) != fields:
            raise ExportError(f"{path}: {row[0]!r}: not the line of an account", "see what is wrong with that line")
    return rows


def _known(manifest: Manifest) -> list[str]:
    """Of a jail that has neither file: the user that it runs as, where its group bears its name and number."""
    command, accounts = manifest.command, manifest.accounts
    own = command.user.partition(":")[0]
    names = dict.fromkeys([*accounts.users, *accounts.groups, *([own] if own and not own.isdigit() else [])])
    if not names:
        raise ExportError("the manifest has no accounts", "learn it with -u USER, or with --accounts all")
    lines = []
    for name in names:
        if name == "root":
            lines.append("u root 0")
        elif name == own and command.uid == command.gid:
            lines.append(f"u {_name(name)} {_number(str(command.uid), name)}")
        else:
            raise ExportError(f"{name!r}: the manifest does not say its number", "learn it with --include /etc/passwd")
    return lines


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ExportError(f"{name!r}: systemd makes no account of this name", _HINT)
    return name


def _number(word: str, name: str) -> int:
    if not word.isdecimal() or not word.isascii() or int(word) in (65535, 4294967295) or int(word) > 4294967295:
        raise ExportError(f"{name!r}: {word!r} is no number that an account can have", _HINT)
    return int(word)


def _text(text: str, name: str) -> str:
    if not text:
        return "-"
    if not text.isprintable():
        raise ExportError(f"{name!r}: systemd takes no such description: {text!r}", _HINT)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _place(path: str, name: str) -> str:
    if not path:
        return "-"
    if not _PLACE.fullmatch(path) or set(path) & set("\"'\\%") or {".", ".."} & set(path.split("/")):
        raise ExportError(f"{name!r}: systemd takes no such directory or shell: {path!r}", _HINT)
    return path
