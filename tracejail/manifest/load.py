"""From text to a manifest. A manifest is input like any other: what no manifest may ask for is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from enum import Enum
from typing import Any

from tracejail.errors import InputOutputError, ManifestError
from tracejail.model import Content, Entry, EntryType, Manifest

from .dump import FORMAT

_LARGEST = 1 << 30       # bytes of a manifest
_LARGEST_FILE = 1 << 50  # bytes of a file that an entry may claim
_MOST_ID = (1 << 32) - 2
_MOUNTS = {"proc": "/proc", "sysfs": "/sys", "devpts": "/dev/pts"}
_HINT = "learn it again, or take the file from a backup"


def read_manifest(path: str) -> Manifest:
    """Raises ManifestError, InputOutputError."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_LARGEST)
    except OSError as error:
        cause = os.strerror(error.errno or 0)
        if isinstance(error, FileNotFoundError | IsADirectoryError):
            raise ManifestError(f"{path}: {cause}", "name a manifest that tracejail learn has written") from None
        raise InputOutputError(f"{path}: {cause}", "see whether the file can be read") from None
    return load(data.decode("utf-8", "surrogateescape"), path)


def load(text: str, where: str) -> Manifest:
    """The manifest that `text` is; `where` names it in messages. Raises ManifestError."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        cause = f"not JSON, or cut short ({error})" if isinstance(error, ValueError) else "nested too deeply"
        raise ManifestError(f"{where}: {cause}", _HINT) from None
    if not isinstance(raw, dict) or "tracejail" not in raw:
        raise ManifestError(f"{where}: not a manifest of tracejail", _HINT)
    version = raw.pop("tracejail")
    if version != FORMAT or not isinstance(version, int) or isinstance(version, bool):
        raise ManifestError(f"{where}: a manifest of another format", "use the tracejail that wrote it")
    try:
        manifest: Manifest = _make(Manifest, raw, "manifest")
        _check(manifest)
    except _Wrong as wrong:
        raise ManifestError(f"{where}: {wrong}", _HINT) from None
    return manifest


class _Wrong(Exception):
    """What is wrong, in words."""


_HINTS: dict[type, dict[str, Any]] = {}


def _make(kind: Any, raw: object, what: str) -> Any:
    """A value of a field's type from plain JSON, by the annotation."""
    origin = typing.get_origin(kind)
    if origin is types.UnionType:
        choices = [choice for choice in typing.get_args(kind) if choice is not type(None)]
        return None if raw is None else _make(choices[0], raw, what)
    if origin is tuple:
        arguments = typing.get_args(kind)
        if not isinstance(raw, list):
            raise _Wrong(f"{what}: not a list")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_make(arguments[0], item, what) for item in raw)
        if len(raw) != len(arguments):
            raise _Wrong(f"{what}: not {len(arguments)} items")
        return tuple(_make(argument, item, what) for argument, item in zip(arguments, raw, strict=True))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _make_noun(kind, raw, what)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(raw)
        except ValueError:
            raise _Wrong(f"{what}: {raw!r} is not known") from None
    kind = getattr(kind, "__supertype__", kind)  # NewType
    if not isinstance(raw, kind) or (kind is int and isinstance(raw, bool)):
        raise _Wrong(f"{what}: {raw!r} is of the wrong type")
    if kind is str:
        if "\0" in raw:
            raise _Wrong(f"{what}: a NUL in a name")
        try:
            raw.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise _Wrong(f"{what}: {raw!r} is no name that a file can have") from None
    return raw


def _make_noun(kind: type, raw: object, what: str) -> Any:
    if not isinstance(raw, dict):
        raise _Wrong(f"{what}: not an object")
    hints = _HINTS.get(kind)
    if hints is None:
        hints = _HINTS[kind] = typing.get_type_hints(kind)
    unknown = raw.keys() - hints.keys()
    if unknown:
        raise _Wrong(f"{what}: unknown field {sorted(unknown)[0]!r}")
    name = raw.get("path", what)
    made = {key: _mode(value, name) if (kind, key) == (Entry, "mode") else _make(hints[key], value, f"{name}: {key}")
            for key, value in raw.items()}
    try:
        return kind(**made)
    except TypeError as error:
        raise _Wrong(f"{what}: {str(error).partition(') ')[2] or error}") from None


def _mode(raw: object, name: object) -> int:
    # Octal text and nothing else: a number would be read as decimal by one and as octal by another.
    if not isinstance(raw, str) or not 1 <= len(raw) <= 5 or set(raw) - set("01234567"):
        raise _Wrong(f"{name}: mode: {raw!r} is no octal text")
    return int(raw, 8)


def _check(manifest: Manifest) -> None:
    known: dict[str, Entry] = {}
    for entry in manifest.entries:
        _check_entry(entry)
        if entry.path in known:
            raise _Wrong(f"{entry.path}: twice")
        known[entry.path] = entry
    for entry in manifest.entries:
        above = known.get(entry.path.rpartition("/")[0])
        if above is not None and above.type is not EntryType.DIRECTORY:
            raise _Wrong(f"{entry.path}: lies beneath {above.path}, which is no directory")
        if entry.path.count("/") > 1 and above is None:
            raise _Wrong(f"{entry.path}: the directory above it is not in the manifest")
        first = known.get(entry.hard_link) if entry.hard_link else None
        if entry.hard_link and (first is None or first.type is not EntryType.FILE or first.hard_link):
            raise _Wrong(f"{entry.path}: a hard link to what is no file of the manifest")
    for mount in manifest.mounts:
        if _MOUNTS.get(mount.type) != mount.path:
            raise _Wrong(f"mount of {mount.type} on {mount.path}: not one that a jail may ask for")
    if not manifest.command.argv:
        raise _Wrong("command: no program")


def _is_normal(path: str) -> bool:
    parts = path.split("/")
    return path.startswith("/") and all(part not in ("", ".", "..") for part in parts[1:]) and len(path) < 65536


def _check_entry(entry: Entry) -> None:
    if not _is_normal(entry.path):
        raise _Wrong(f"{entry.path!r}: not a normal absolute path")
    if not 0 <= entry.mode <= 0o7777:
        raise _Wrong(f"{entry.path}: mode {entry.mode:o}")
    if not (0 <= entry.uid <= _MOST_ID and 0 <= entry.gid <= _MOST_ID):
        raise _Wrong(f"{entry.path}: no such owner can be")
    if not 0 <= entry.size <= _LARGEST_FILE:
        raise _Wrong(f"{entry.path}: a size of {entry.size} bytes")
    if entry.sha256 and (len(entry.sha256) != 64 or set(entry.sha256) - set("0123456789abcdef")):
        raise _Wrong(f"{entry.path}: sha256 is no digest")
    if entry.type is EntryType.SYMLINK and (not entry.target or len(entry.target) >= 4096):
        raise _Wrong(f"{entry.path}: a link without a sound target")
    is_device = entry.type in (EntryType.CHARACTER, EntryType.BLOCK)
    if is_device != (entry.device is not None):
        raise _Wrong(f"{entry.path}: a device number belongs to a device, and only to one")
    if entry.device is not None and not all(0 <= number < 1 << 20 for number in entry.device):
        raise _Wrong(f"{entry.path}: no such device number can be")
    if entry.content is not Content.HOST and entry.type is not EntryType.FILE:
        raise _Wrong(f"{entry.path}: only a file has content")
    for name, value in entry.xattrs:
        if len(value) % 2 or set(value) - set("0123456789abcdef") or not name:
            raise _Wrong(f"{entry.path}: extended attribute {name!r}")
