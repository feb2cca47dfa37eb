"""Which package a path belongs to: dpkg's and apk's own lists, read once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from tracejail.model import JailPath

from .host import HostRoot, names, read_start

_DPKG = "/var/lib/dpkg"
_APK = "/lib/apk/db/installed"
_LARGEST = 256 << 20  # bytes
_MERGED = ("/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/")
Owner = tuple[str, str]


def owners(host: HostRoot, paths: Collection[str]) -> dict[str, Owner]:
    """(package, version) of those of `paths` that a package has; a host without a known data base gives none."""
    wanted = {os.fsencode(path): path for path in paths}
    for path in paths:
        # On a merged /usr the real path is /usr/bin/ls, and the package may still say /bin/ls; or the other way round.
        if path.startswith("/usr/") and path[4:].startswith(_MERGED):
            wanted.setdefault(os.fsencode(path[4:]), path)
        elif path.startswith(_MERGED):
            wanted.setdefault(b"/usr" + os.fsencode(path), path)
    return _dpkg(host, wanted) or _apk(host, wanted)


def _dpkg(host: HostRoot, wanted: dict[bytes, str]) -> dict[str, Owner]:
    diverted = _diversions(host)
    found: dict[str, str] = {}
    keys = wanted.keys() | diverted.keys()
    for name in names(host, JailPath(f"{_DPKG}/info")):
        if not name.endswith(".list"):
            continue
        package = name.removesuffix(".list")
        for line in keys & set(read_start(host, JailPath(f"{_DPKG}/info/{name}"), _LARGEST).split(b"\n")):
            place = line
            if line in diverted:
                to, by = diverted[line]
                if package.split(":")[0] != by:
                    place = to
            path = wanted.get(place)
            # A directory is in many packages; the first one by name is as good as any, and stable.
            if path is not None and path not in found:
                found[path] = package
    if not found:
        return {}
    versions = dict(_versions(read_start(host, JailPath(f"{_DPKG}/status"), _LARGEST)))
    return {
        path: (package, versions.get(package) or versions.get(package.split(":")[0], ""))
        for path, package in found.items()
    }


def _diversions(host: HostRoot) -> dict[bytes, tuple[bytes, str]]:
    lines = read_start(host, JailPath(f"{_DPKG}/diversions"), _LARGEST).split(b"\n")
    return {
        lines[index]: (lines[index + 1], lines[index + 2].decode("utf-8", "replace"))
        for index in range(0, len(lines) - 2, 3)
    }


def _versions(status: bytes) -> Iterator[tuple[str, str]]:
    package = architecture = ""
    for line in status.split(b"\n"):
        if line.startswith(b"Package: "):
            package, architecture = line[9:].decode("utf-8", "replace"), ""
        elif line.startswith(b"Architecture: "):
            architecture = line[14:].decode("utf-8", "replace")
        elif line.startswith(b"Version: "):
            version = line[9:].decode("utf-8", "replace")
            yield package, version
            yield f"{package}:{architecture}", version


def _apk(host: HostRoot, wanted: dict[bytes, str]) -> dict[str, Owner]:
    found: dict[str, Owner] = {}
    package, version, directory = "", "", b""
    for line in read_start(host, JailPath(_APK), _LARGEST).split(b"\n"):
        kind, value = line[:2], line[2:]
        if kind == b"P:":
            package = value.decode("utf-8", "replace")
        elif kind == b"V:":
            version = value.decode("utf-8", "replace")
        elif kind in (b"F:", b"R:"):
            if kind == b"F:":
                directory = b"/" + value
            path = wanted.get(directory if kind == b"F:" else directory + b"/" + value)
            if path is not None:
                found.setdefault(path, (package, version))
    return found
