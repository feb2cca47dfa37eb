"""Lists of plain paths: one a line, or each ended by NUL; those of dpkg(1) are such (/var/lib/dpkg/info/PACKAGE.list)."""

from __future__ import annotations

import os

from .listed import Listed, wrong


def read_lines(data: bytes, where: str, section: str) -> Listed:
    """Paths from "/", or from "./", which says the same."""
    found: dict[str, None] = {}
    end = b"\0" if b"\0" in data else b"\n"
    for number, word in enumerate(data.split(end), 1):
        if not word:
            continue
        path = os.fsdecode(word)
        if path.startswith("./"):
            path = path[1:]
        if not path.startswith("/"):
            raise wrong(where, number, f"{path!r}: not a path from / on")
        if ".." in path.split("/"):
            raise wrong(where, number, f"{path!r}: has a .. in it")
        path = os.path.normpath("/" + path.lstrip("/"))
        if path != "/":
            found[path] = None
    return Listed(tuple(found))
