"""What %x means in a unit: the table of specifiers of systemd.unit(5), for the system manager."""

from __future__ import annotations

import os
import re

from tracejail.model import JailPath

from .accounts import find_account
from .host import HostRoot, read_start
from .unit_syntax import environment_file

_LARGEST = 1 << 16  # bytes
_ARCHITECTURES = {"x86_64": "x86-64", "i386": "x86", "i686": "x86", "aarch64": "arm64"}
_PLACES = {
    "C": "/var/cache", "E": "/etc", "L": "/var/log", "S": "/var/lib", "t": "/run", "T": "/tmp", "V": "/var/tmp",
    "g": "root", "G": "0", "h": "/root", "u": "root", "U": "0",
}
_RELEASE = {"A": "IMAGE_VERSION", "B": "BUILD_ID", "M": "IMAGE_ID", "o": "ID", "w": "VERSION_ID", "W": "VARIANT_ID"}


def specifiers(host: HostRoot, name: str, path: str) -> dict[str, str]:
    """The specifiers of a unit of this name, read from this path. %d is not known, as there are no credentials."""
    stem = name.rpartition(".")[0]
    prefix, _, instance = stem.partition("@")
    last = prefix.rpartition("-")[2]
    kernel = os.uname()
    own = _first_line(host, "/etc/hostname") if host.path != "/" else ""
    node = own or kernel.nodename
    release = environment_file(_text(host, "/etc/os-release"))
    root = find_account(host, "root")
    pretty = environment_file(_text(host, "/etc/machine-info")).get("PRETTY_HOSTNAME")
    return {
        **_PLACES,
        **{letter: release.get(key, "") for letter, key in _RELEASE.items()},
        "a": _ARCHITECTURES.get(kernel.machine, kernel.machine),
        "b": _boot(),
        "f": _path_of(instance or prefix),
        "H": node,
        "i": instance,
        "I": unescape(instance),
        "j": last,
        "J": unescape(last),
        "l": node.partition(".")[0],
        "m": _first_line(host, "/etc/machine-id"),
        "n": name,
        "N": stem,
        "p": prefix,
        "P": unescape(prefix),
        "q": pretty or node.partition(".")[0],
        "s": root.shell if root else "/bin/sh",
        "v": kernel.release,
        "y": path,
        "Y": os.path.dirname(path),
    }


def unescape(text: str) -> str:
    """A part of a unit's name as what it stands for: "-" for "/", \\xXX for a byte."""
    data = text.replace("-", "/").encode("utf-8", "surrogateescape")
    made = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes((int(match[1], 16),)), data)
    return made.decode("utf-8", "surrogateescape")


def _path_of(text: str) -> str:
    return "/" + unescape(text).strip("/")


def _text(host: HostRoot, path: str) -> str:
    return read_start(host, JailPath(path), _LARGEST).decode("utf-8", "surrogateescape")


def _first_line(host: HostRoot, path: str) -> str:
    return _text(host, path).partition("\n")[0].strip()


def _boot() -> str:
    """The boot of this machine, whichever root the unit is from."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip().replace("-", "")
    except OSError:
        return ""
