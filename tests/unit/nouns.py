"""Small manifests for the unit tests."""

from __future__ import annotations

from typing import Any

from tracejail.model import (
    Because,
    Command,
    Entry,
    EntryType,
    HostIdentity,
    JailPath,
    Manifest,
    Origin,
)

BECAUSE = Because("/usr/sbin/httpd", "openat", "conf/httpd.conf")


def entry(path: str, **fields: Any) -> Entry:
    """A regular file that a miss asked for, unless the fields say otherwise."""
    given: dict[str, Any] = {
        "type": EntryType.FILE, "mode": 0o644, "uid": 0, "gid": 0, "origin": Origin.MISS, "because": BECAUSE, **fields,
    }
    if given["type"] is EntryType.FILE:
        given.setdefault("sha256", "a" * 64)
        given.setdefault("size", 12)
    return Entry(JailPath(path), **given)


def directory(path: str, **fields: Any) -> Entry:
    """A directory on the way."""
    return entry(path, **{"type": EntryType.DIRECTORY, "mode": 0o755, "origin": Origin.PARENT, **fields})


def link(path: str, target: str, **fields: Any) -> Entry:
    """A symbolic link."""
    return entry(path, **{"type": EntryType.SYMLINK, "mode": 0o777, "origin": Origin.SYMLINK, "target": target, **fields})


def device(path: str, major: int, minor: int, **fields: Any) -> Entry:
    """A character device."""
    return entry(path, **{"type": EntryType.CHARACTER, "mode": 0o666, "device": (major, minor), **fields})


def manifest(*entries: Entry, **fields: Any) -> Manifest:
    """A clean manifest that holds the entries in order of path."""
    given: dict[str, Any] = {"command": Command(("/usr/sbin/httpd",)), "clean": True, "jail": "/srv/httpd.jail", **fields}
    given.setdefault("host", HostIdentity("/", "Debian GNU/Linux 12 (bookworm)", "6.1", "x86-64"))
    return Manifest(entries=tuple(sorted(entries, key=lambda one: one.path)), **given)
