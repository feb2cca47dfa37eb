"""mtree(5), as mtree(8) of NetBSD and bsdtar(1) write it: nested, or with whole paths; /set, /unset, comments, continuations."""

from __future__ import annotations

import os
import re

from .listed import Listed, wrong

_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|[0abfnrstvE#\\ ])")
_LETTERS = {b"0": b"\0", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"s": b" ", b"t": b"\t", b"v": b"\v",
            b"E": b"\x1b", b"#": b"#", b"\\": b"\\", b" ": b" "}   # vis(3), VIS_CSTYLE


def unescaped(word: bytes) -> str:
    """A name as it was before vis(3)."""
    return os.fsdecode(_ESCAPE.sub(lambda at: bytes([int(at[1], 8)]) if len(at[1]) == 3 else _LETTERS[at[1]], word))


def read_mtree(data: bytes, where: str, section: str) -> Listed:
    """The names beneath ".", with the digests that it gives for files."""
    found: dict[str, None] = {}
    digests: dict[str, str] = {}
    inside: list[str] = []
    defaults: dict[bytes, bytes] = {}
    for number, line in enumerate(re.sub(rb"\\\n", b" ", data).split(b"\n"), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        given = dict(word.partition(b"=")[::2] for word in words[1:])
        if words[0] == b"/set":
            defaults |= given
            continue
        if words[0] == b"/unset":
            defaults = {} if b"all" in given else {key: value for key, value in defaults.items() if key not in given}
            continue
        if words[0] == b"..":
            if inside:
                inside.pop()
            continue
        keys = {**defaults, **given}
        name = unescaped(words[0])
        if b"type" not in keys:
            raise wrong(where, number, f"{name!r}: of no type")
        if "/" in name:
            path = os.path.normpath("/" + name.removeprefix(".").lstrip("/"))
            if ".." in name.split("/"):
                raise wrong(where, number, f"{name!r}: has a .. in it")
        else:
            path = "/" + "/".join([*inside, name]) if name != "." else "/"
            if keys[b"type"] == b"dir":
                inside += [name] if name != "." else []
        if path != "/":
            found[path] = None
        digest = keys.get(b"sha256", keys.get(b"sha256digest", b"")).decode("ascii", "replace")
        if digest and keys[b"type"] == b"file":
            digests[path] = digest.removeprefix("0x")
    return Listed(tuple(found), digests=tuple(digests.items()))
