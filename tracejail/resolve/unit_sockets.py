"""The addresses of a socket unit, systemd.socket(5), in the words of Service.sockets."""

from __future__ import annotations

import re

from tracejail.model import JailPath, MadeDirectory

from .host import HostRoot, inspect
from .unit_settings import Settings
from .unit_syntax import expand

# Setting, the kind of address for a port, and for a path ("" where a trial has none).
_LISTEN = {
    "ListenStream": ("tcp", "unix"),
    "ListenDatagram": ("udp", ""),
    "ListenSequentialPacket": ("", ""),
    "ListenFIFO": ("", ""),
    "ListenSpecial": ("", ""),
    "ListenNetlink": ("", ""),
    "ListenMessageQueue": ("", ""),
    "ListenUSBFunction": ("", ""),
}
_MODE = re.compile("[0-7]{1,5}")
_PORT = re.compile(r"(?:(?:[0-9.]+|\[[0-9A-Fa-f:.]+\]):)?[0-9]{1,5}")


def addresses(socket: Settings) -> tuple[list[str], list[str]]:
    """The addresses in their order, and a line for each that a trial can't listen on."""
    found: list[str] = []
    warnings: list[str] = []
    for row in socket.rows:
        if row.section != "Socket" or row.key not in _LISTEN:
            continue
        if not row.value:  # takes away all before it, of whichever kind
            found, warnings = [], []
            continue
        value = expand(row.value, socket.known)
        port, path = _LISTEN[row.key]
        if path and value.startswith("/"):
            found.append(f"{path}:{value}")
        elif port and _PORT.fullmatch(value):
            found.append(f"{port}:{value}")
        else:
            warnings.append(f"{row.key}={value}: such a socket is not made in the trial")
    return found, warnings


def directories(host: HostRoot, socket: Settings, addresses: list[str]) -> list[MadeDirectory]:
    """What the manager makes above the sockets that have a path, where the host has it not: DirectoryMode=."""
    text = socket.text("DirectoryMode", "0755", "Socket")
    mode = int(text, 8) & 0o7777 if _MODE.fullmatch(text) else 0o755
    made: list[MadeDirectory] = []
    for address in addresses:
        parts = address.removeprefix("unix:/").split("/")[:-1] if address.startswith("unix:") else []
        above = [JailPath("/" + "/".join(parts[:count])) for count in range(1, len(parts) + 1)]
        made += [MadeDirectory(path, mode) for path in above if inspect(host, JailPath(path + "/.")) is None]
    return made
