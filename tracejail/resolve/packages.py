"""Which package a path belongs to: dpkg's and apk's own lists, read once."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Collection, Iterator

from tracejail.kernel.paths import O_PATH_NOFOLLOW, openat2
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
    # As lines, to be looked for among the lines of a list without a copy of them all.
    lines = frozenset(path + b"\n" for path in wanted.keys() | diverted.keys())
    for package, text in _lists(host):
        for line in lines.intersection(io.BytesIO(text)):
            place = line[:-1]
            if place in diverted:
                to, by = diverted[place]
                if package.split(":")[0] != by:
                    place = to
            path = wanted.get(place)
            # A directory is in many packages; the first one by name is as good as any, and stable.
            if path is not None and path not in found:
                found[path] = package
    if not found:
        return {}
    packages = set(found.values())
    status = read_start(host, JailPath(f"{_DPKG}/status"), _LARGEST)
    versions = dict(_versions(status, {package.split(":")[0] for package in packages}))
    known = {package: versions.get(package) or versions.get(package.split(":")[0], "") for package in packages}
    return {path: (package, known[package]) for path, package in found.items()}


def sources(host: HostRoot) -> dict[tuple[str, str], tuple[str, str]]:
    """Of each installed package, by name and version, the source package and its version; of dpkg's and apk's."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for paragraph in read_start(host, JailPath(f"{_DPKG}/status"), _LARGEST).split(b"\n\n"):
        package, version = _field(paragraph, b"Package"), _field(paragraph, b"Version")
        # "Source: NAME", or "Source: NAME (VERSION)" where the versions differ (deb-control(5)).
        name, _, rest = _field(paragraph, b"Source").partition(" ")
        if package and version:
            found[package, version] = name or package, rest.strip(" ()") or version
    package = version = ""
    for line in read_start(host, JailPath(_APK), _LARGEST).split(b"\n"):
        kind, value = line[:2], line[2:].decode("utf-8", "replace")
        if kind == b"P:":
            package = value
        elif kind == b"V:":
            version = value
        elif kind == b"o:" and package:
            found[package, version] = value, version
    return found


def _lists(host: HostRoot) -> Iterator[tuple[str, bytes]]:
    """Each package, in order of name, with its list of paths. Raises InputOutputError."""
    found = [name for name in names(host, JailPath(f"{_DPKG}/info")) if name.endswith(".list")]
    if not found:
        return
    # From their directory: there are many of them, and a look-up from the root costs more than all the rest.
    directory = openat2(host.fd, f"{_DPKG}/info", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in found:
            yield name.removesuffix(".list"), _whole_lines(host, directory, name)
    finally:
        os.close(directory)


def _whole_lines(host: HostRoot, directory: int, name: str) -> bytes:
    try:
        fd = os.open(name, O_PATH_NOFOLLOW, dir_fd=directory)
    except OSError:
        return b""  # dpkg took it away in this moment
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as stream:
                text = stream.read(min(status.st_size, _LARGEST)) or b""
        else:
            text = read_start(host, JailPath(f"{_DPKG}/info/{name}"), _LARGEST)
    except OSError:
        return b""
    finally:
        os.close(fd)
    return text if text.endswith(b"\n") else text + b"\n"


def _diversions(host: HostRoot) -> dict[bytes, tuple[bytes, str]]:
    lines = read_start(host, JailPath(f"{_DPKG}/diversions"), _LARGEST).split(b"\n")
    return {
        lines[index]: (lines[index + 1], lines[index + 2].decode("utf-8", "replace"))
        for index in range(0, len(lines) - 2, 3)
    }


def _versions(status: bytes, packages: set[str]) -> Iterator[tuple[str, str]]:
    """The versions of `packages`, each by name and by name:architecture."""
    for paragraph in status.split(b"\n\n"):
        package = _field(paragraph, b"Package")
        # Most are not asked for, and a paragraph is long.
        if package in packages and (version := _field(paragraph, b"Version")):
            yield package, version
            yield f"{package}:{_field(paragraph, b'Architecture')}", version


def _field(paragraph: bytes, name: bytes) -> str:
    _, found, rest = (b"\n" + paragraph).partition(b"\n" + name + b": ")
    return rest.partition(b"\n")[0].decode("utf-8", "replace") if found else ""


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
