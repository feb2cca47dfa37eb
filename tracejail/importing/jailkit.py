"""A section of jk_init.ini(5) of jailkit, with those that it includes."""

from __future__ import annotations

import configparser
import os

from tracejail.errors import UsageError

from .listed import Listed

# What names paths; each word is a path, a pattern, or a program that is looked for. The older four mean the same.
_PATHS = ("paths", "paths_w_owner", "paths_w_setuid", "devices", "executables", "regularfiles", "directories", "libraries")


def read_jailkit(data: bytes, where: str, section: str) -> Listed:
    """One section: that which is named, or the only one."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(os.fsdecode(data), where)
    except configparser.Error as error:
        raise UsageError(f"{where}: {str(error).splitlines()[0]}", "see jk_init(8) for what such a file is") from None
    names = parser.sections()
    if not section and len(names) != 1:
        some = ", ".join(names[:8])
        raise UsageError(f"{where}: has {len(names)} sections", f"--name, before the format, says which: {some} ...")
    paths: dict[str, None] = {}
    users: dict[str, None] = {}
    groups: dict[str, None] = {}
    pending, seen = [section or names[0]], set()
    while pending:
        name = pending.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if not parser.has_section(name):
            raise UsageError(f"{where}: no section {name}", f"there are: {', '.join(names[:8])} ...")
        held = parser[name]
        for key in _PATHS:
            paths |= dict.fromkeys(_words(held.get(key, "")))
        users |= dict.fromkeys(_words(held.get("users", "")))
        groups |= dict.fromkeys(_words(held.get("groups", "")))
        pending += _words(held.get("includesections", ""))
    return Listed(tuple(paths), whole=True, libraries=True, patterns=True, users=tuple(users), groups=tuple(groups))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
