"""What the host says of its packages: architecture, and licences by their copyright files; dpkg's and apk's words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tracejail.model import JailPath

from .host import HostRoot, read_start
from .unit_syntax import environment_file

_STATUS = JailPath("/var/lib/dpkg/status")
_APK = JailPath("/lib/apk/db/installed")
_LARGEST = 256 << 20            # bytes
_LARGEST_COPYRIGHT = 4 << 20
_RELEASES = (JailPath("/etc/os-release"), JailPath("/usr/lib/os-release"))


@dataclass(frozen=True, slots=True)
class Installed:
    """A package of the host. `licences` is None where a copyright file has them."""

    form: str                    # deb, apk
    version: str
    architecture: str
    licences: tuple[str, ...] | None


@dataclass(slots=True)
class PackageBase:
    """The host's package data base, read when it is first asked."""

    host: HostRoot
    known: dict[str, Installed] = field(default_factory=dict)
    is_read: bool = False

    def find(self, package: str, version: str) -> Installed | None:
        """A package of this version, with its licences."""
        if not self.is_read:
            self.is_read = True
            self.known = dict(_apk(self.host)) | dict(_dpkg(self.host))
        found = self.known.get(package)
        if found is None or found.version != version:
            return None
        if found.licences is None:
            licences = copyright_licences(_copyright(self.host, package.partition(":")[0]))
            found = self.known[package] = Installed(found.form, version, found.architecture, licences)
        return found


def os_release(host: HostRoot) -> dict[str, str]:
    """The variables of os-release(5)."""
    text = next((text for path in _RELEASES if (text := read_start(host, path, 65536))), b"")
    return environment_file(text.decode("utf-8", "replace"))


def copyright_licences(text: str) -> tuple[str, ...]:
    """The licences of the files in a copyright file of format 1.0, in order, each once; none where it is in free form."""
    lines = text.split("\n")
    if not any(line.lower().startswith(("format:", "format-specification:")) for line in lines[:20]):
        return ()
    found: dict[str, None] = {}
    has_files = False
    for line in lines:
        key, colon, value = line.partition(":")
        if not line.strip():
            has_files = False
        elif key.lower() == "files" and colon:
            has_files = True
        # A paragraph without Files only tells a licence's text.
        elif key.lower() == "license" and colon and has_files and (name := " ".join(value.split())):
            found[name] = None
    return tuple(found)


def _copyright(host: HostRoot, package: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]*", package):
        return ""  # no name of a package, and it is to become a path
    return read_start(host, JailPath(f"/usr/share/doc/{package}/copyright"), _LARGEST_COPYRIGHT).decode("utf-8", "replace")


def _dpkg(host: HostRoot) -> Iterator[tuple[str, Installed]]:
    for paragraph in read_start(host, _STATUS, _LARGEST).split(b"\n\n"):
        package, version, architecture = (_field(paragraph, name) for name in (b"Package", b"Version", b"Architecture"))
        if package and version:
            yield package, Installed("deb", version, architecture, None)
            yield f"{package}:{architecture}", Installed("deb", version, architecture, None)


def _apk(host: HostRoot) -> Iterator[tuple[str, Installed]]:
    for paragraph in read_start(host, _APK, _LARGEST).split(b"\n\n"):
        fields = {line[:2]: os.fsdecode(line[2:]) for line in paragraph.split(b"\n") if line[1:2] == b":"}
        if b"P:" in fields:
            licence = fields.get(b"L:", "")
            licences = (licence,) if licence else ()
            yield fields[b"P:"], Installed("apk", fields.get(b"V:", ""), fields.get(b"A:", ""), licences)


def _field(paragraph: bytes, name: bytes) -> str:
    _, found, rest = (b"\n" + paragraph).partition(b"\n" + name + b": ")
    return rest.partition(b"\n")[0].decode("utf-8", "replace") if found else ""
