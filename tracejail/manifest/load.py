"""From text to a manifest. A manifest is input like any other: what no manifest may ask for is refused."""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import stat
import sys
import types
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, TextIO

from tracejail.errors import InputOutputError, ManifestError
from tracejail.model import Entry, Manifest

from .check import Wrong, check
from .dump import FORMAT
from .stream import Reader

_LARGEST = 1 << 30  # characters of a manifest
_HINT = "learn it again, or take the file from a backup"


def read_manifest(path: str) -> Manifest:
    """Raises ManifestError, InputOutputError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", opener=_opened) as stream:
            return _load(_bounded(stream), path)
    except OSError as error:
        cause = error.strerror or str(error)
        if isinstance(error, FileNotFoundError | IsADirectoryError):
            raise ManifestError(f"{path}: {cause}", "name a manifest that tracejail learn has written") from None
        raise InputOutputError(f"{path}: {cause}", "see whether the file can be read") from None


def _opened(path: str, flags: int) -> int:
    """A descriptor of a regular file or a pipe; nothing waits for who would write to a FIFO. Raises ManifestError, OSError."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(fd).st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO):
        os.close(fd)
        raise ManifestError(f"{path}: is no regular file", "name a manifest that tracejail learn has written")
    os.set_blocking(fd, True)   # one that nobody has open for writing is at its end at once
    return fd


def _bounded(stream: TextIO) -> Callable[[int], str]:
    left = _LARGEST

    def read(size: int) -> str:
        nonlocal left
        text = stream.read(min(size, left))
        left -= len(text)
        return text

    return read


def load(text: str, where: str) -> Manifest:
    """The manifest that `text` is; `where` names it in messages. Raises ManifestError."""
    pieces = iter((text,))
    return _load(lambda _: next(pieces, ""), where)


def _load(read: Callable[[int], str], where: str) -> Manifest:
    collects = gc.isenabled()
    gc.disable()  # nothing of what is made here is garbage, and looking for some takes a quarter of the time
    try:
        return _load_fields(read, where)
    finally:
        if collects:
            gc.enable()


def _load_fields(read: Callable[[int], str], where: str) -> Manifest:
    fields: dict[str, Any] = {}
    try:
        _read_fields(Reader(read), fields, where)
        if "tracejail" not in fields:
            raise Wrong("it has no version")
        manifest: Manifest = _construct(Manifest, {key: fields[key] for key in fields if key != "tracejail"})
        check(manifest)
    except Wrong as wrong:
        cause = str(wrong) if "tracejail" in fields else f"not a manifest of tracejail ({wrong})"
        raise ManifestError(f"{where}: {cause}", _HINT) from None
    except ValueError as error:
        raise ManifestError(f"{where}: not JSON, or cut short ({error})", _HINT) from None
    except RecursionError:
        raise ManifestError(f"{where}: nested too deeply", _HINT) from None
    return manifest


def _read_fields(reader: Reader, fields: dict[str, Any], where: str) -> None:
    if reader.peek() != "{":
        reader.value()
        raise Wrong("it is no object")
    makers = _makers(Manifest)
    for key in reader.members():
        if key in fields:
            raise Wrong(f"{key}: twice")
        if key == "tracejail":
            fields[key] = reader.value()
            if type(fields[key]) is not int or fields[key] != FORMAT:
                raise ManifestError(f"{where}: a manifest of another format", "use the tracejail that wrote it")
        elif key not in makers:
            raise Wrong(f"unknown field {key!r}")
        else:
            # An entry at a time, as most of a manifest is its entries.
            one_by_one = key == "entries" and reader.peek() == "["
            try:
                fields[key] = tuple(_entries(reader)) if one_by_one else makers[key](reader.value())
            except Wrong as wrong:
                raise Wrong(f"{key}: {wrong}") from None
    reader.finish()


def _entries(reader: Reader) -> Iterator[Entry]:
    quick = _makers(Entry, True)
    for raw in reader.elements():
        if reader.plain:
            try:
                yield Entry(**{key: quick[key](value) for key, value in raw.items()})  # type: ignore[attr-defined]
                continue
            except (Wrong, KeyError, TypeError, AttributeError):
                pass  # whatever it is, the other way says what
        yield _noun(Entry, raw)


# A value of a field's type from plain JSON; raises Wrong.
Maker = Callable[[Any], Any]


@functools.cache
def _makers(noun: Any, quick: bool = False) -> dict[str, Maker]:
    """The fields of a dataclass. `quick` ones are for text in which no odd character is, make the same of what is
    right, and raise anything of what is wrong."""
    makers = {name: _maker(hint, quick) for name, hint in typing.get_type_hints(noun).items()}
    if "mode" in makers:
        makers["mode"] = functools.cache(_mode) if quick else _mode
    return makers


def _maker(kind: Any, quick: bool) -> Maker:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        inner = _maker(arguments[0], quick)
        return lambda raw: None if raw is None else inner(raw)
    if origin is tuple:
        return _list_maker([_maker(item, quick) for item in arguments if item is not Ellipsis], arguments[-1] is Ellipsis)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if quick:
            makers = _makers(kind, True)
            return lambda raw: kind(**{key: makers[key](value) for key, value in raw.items()})
        return lambda raw: _noun(kind, raw)
    kind = getattr(kind, "__supertype__", kind)  # NewType
    if issubclass(kind, Enum):
        members = {member.value: member for member in kind}
        return members.__getitem__ if quick else _member_maker(members)
    if kind is str:
        return sys.intern if quick else _text
    return _plain_maker(kind)


def _list_maker(makers: list[Maker], any_length: bool) -> Maker:
    def make(raw: object) -> object:
        if type(raw) is not list:
            raise Wrong("not a list")
        if any_length:
            return tuple(map(makers[0], raw))
        if len(raw) != len(makers):
            raise Wrong(f"not {len(makers)} items")
        return tuple(maker(item) for maker, item in zip(makers, raw, strict=True))

    return make


def _member_maker(members: dict[str, Enum]) -> Maker:
    def make(raw: object) -> object:
        member = members.get(raw) if type(raw) is str else None
        if member is None:
            raise Wrong(f"{raw!r} is not known")
        return member

    return make


def _plain_maker(kind: type) -> Maker:
    def make(raw: object) -> object:
        if type(raw) is not kind:  # a bool is an int for isinstance
            raise Wrong(f"{raw!r} is of the wrong type")
        return raw

    return make


def _text(raw: object) -> str:
    if type(raw) is not str:
        raise Wrong(f"{raw!r} is of the wrong type")
    if "\0" in raw:
        raise Wrong("a NUL in a name")
    if not raw.isascii():
        try:
            raw.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Wrong(f"{raw!r} is no name that a file can have") from None
    return sys.intern(raw)  # most names and words are there many times


def _mode(raw: object) -> int:
    # Octal text and nothing else: a number would be read as decimal by one and as octal by another.
    if type(raw) is not str or not 1 <= len(raw) <= 5 or raw.strip("01234567"):
        raise Wrong(f"{raw!r} is no octal text")
    return int(raw, 8)


def _noun(kind: Any, raw: object) -> Any:
    if type(raw) is not dict:
        raise Wrong("not an object")
    makers = _makers(kind)
    made, key = {}, ""
    try:
        for key, value in raw.items():
            made[key] = makers.get(key, _unknown)(value)
    except Wrong as wrong:
        path = f"{raw['path']}: " if "path" in raw else ""
        raise Wrong(f"{path}{key}: {wrong}") from None
    return _construct(kind, made)


def _unknown(_: object) -> object:
    raise Wrong("unknown field")


def _construct(kind: Any, made: dict[str, Any]) -> Any:
    try:
        return kind(**made)
    except TypeError as error:
        raise Wrong(str(error).partition(") ")[2] or str(error)) from None
