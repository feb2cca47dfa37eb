"""A manifest as JSON: stable order, one entry a line, fields with their default value left out."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
from enum import Enum

from tracejail.errors import InputOutputError
from tracejail.model import Entry, Manifest

FORMAT = 1
_OCTAL = ("mode",)


def dump(manifest: Manifest) -> str:
    """The text of a manifest. Bytes of a name that are no UTF-8 are lone surrogates, escaped."""
    parts = [f'"tracejail": {FORMAT}']
    for field in dataclasses.fields(manifest):
        value = getattr(manifest, field.name)
        if isinstance(value, tuple) and value:
            rows = ",\n  ".join(_text(row) for row in value)
            parts.append(f'"{field.name}": [\n  {rows}\n ]')
        else:
            parts.append(f'"{field.name}": {_text(value)}')
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def _text(value: object) -> str:
    return json.dumps(plain(value), ensure_ascii=True, separators=(", ", ": "))


def plain(value: object) -> object:
    """A noun as what JSON knows: dictionaries without default values, lists, words; modes as octal text."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if item != field.default:
                shown[field.name] = f"{item:04o}" if field.name in _OCTAL and isinstance(value, Entry) else plain(item)
        return shown
    return value


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
            stream.write(dump(manifest))
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(first_name, path, src_dir_fd=directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(first_name, dir_fd=directory)
        if error.errno == errno.EXDEV:
            raise _OtherFileSystem from None
        raise
