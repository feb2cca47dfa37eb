"""A manifest as JSON: stable order, one entry a line, fields with their default value left out."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import operator
import os
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from tracejail.errors import InputOutputError
from tracejail.model import Manifest

FORMAT = 1
_WHERE_USED = ("merged", "capabilities")  # fields of a manifest that an older tracejail does not know


def dump(manifest: Manifest) -> str:
    """The text of a manifest. Bytes of a name that are no UTF-8 are lone surrogates, escaped."""
    return "".join(pieces(manifest))


def pieces(manifest: Manifest) -> Iterator[str]:
    """The text of a manifest, an entry at a time."""
    yield f'{{\n "tracejail": {FORMAT}'
    for field in dataclasses.fields(manifest):
        value = getattr(manifest, field.name)
        if not value and field.name in _WHERE_USED:
            continue
        yield f',\n "{field.name}": '
        if isinstance(value, tuple) and value:
            start = "[\n  "
            for row in value:
                yield start + _text(row)
                start = ",\n  "
            yield "\n ]"
        else:
            yield _text(value)
    yield "\n}\n"


_encode = json.JSONEncoder(ensure_ascii=True, separators=(", ", ": ")).encode


def _text(value: object) -> str:
    return _encode(plain(value))


def plain(value: object) -> object:
    """A noun as what JSON knows: dictionaries without default values, lists, words; modes as octal text."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    row = _row(kind)
    shown = {
        name: item if type(item) in _PLAIN else plain(item)
        for name, default, item in zip(row.names, row.defaults, row.values(value), strict=True)
        if item != default
    }
    if "mode" in shown:
        shown["mode"] = f"{shown['mode']:04o}"
    return shown


_PLAIN = frozenset((str, int, bool, type(None)))


class _Row(NamedTuple):
    """A dataclass's fields, looked up once."""

    names: tuple[str, ...]
    defaults: tuple[object, ...]
    values: Callable[[object], tuple[object, ...]]


@functools.cache
def _row(kind: Any) -> _Row:
    fields = dataclasses.fields(kind)
    names = tuple(field.name for field in fields)
    return _Row(names, tuple(field.default for field in fields), operator.attrgetter(*names))


def write_manifest(manifest: Manifest, path: str, scratch: int | None = None) -> None:
    """Write a manifest whole or not at all, mode 0600. `scratch` is a directory where its first name may be, and be
    left if the process is killed; without it, or on another file system, that is beside `path`.

    Raises InputOutputError.
    """
    try:
        if scratch is not None:
            with contextlib.suppress(_OtherFileSystem):
                _write(manifest, path, "manifest", scratch)
                return
        _write(manifest, path, f"{path}.{os.getpid()}.part", None)
    except OSError as error:
        cause = os.strerror(error.errno or 0)
        raise InputOutputError(f"{path}: {cause}", "name another file for the manifest with -m") from None


class _OtherFileSystem(Exception):
    """A rename between two file systems (EXDEV)."""


def _write(manifest: Manifest, path: str, first_name: str, directory: int | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(first_name, flags, 0o600, dir_fd=directory)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            stream.writelines(pieces(manifest))
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(first_name, path, src_dir_fd=directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(first_name, dir_fd=directory)
        if error.errno == errno.EXDEV:
            raise _OtherFileSystem from None
        raise
