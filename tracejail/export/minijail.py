"""minijail: a configuration file of minijail0(5), the command aside, which minijail0 takes from its command line only.

The root is the jail's directory, read-only but for what was written to: bound over an empty directory, as minijail0's own
profile for such roots does.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracejail.errors import ExportError
from tracejail.model import EntryType

from .box import (
    DEVICES,
    beneath,
    bound_sockets,
    directory_of_jail,
    gains_privilege,
    kept_read_only,
    no_text,
    root_is_written,
    writable,
)
from .request import Request

_EMPTY = "/var/empty"


def minijail(request: Request) -> Iterable[bytes]:
    """The file."""
    manifest, command, jail = request.manifest, request.manifest.command, directory_of_jail(request)
    if command.directory != "/":
        raise ExportError(
            f"{command.directory!r}: minijail0 starts programs in the root directory only", "take the format systemd or nsjail"
        )
    lines = [
        "% minijail-config-file v0",
        "# Made by tracejail: minijail0 --config FILE -- PROGRAM [ARGUMENT...]",
        "ns-mount",
        f"P = {_EMPTY}",
        "l",
        "uts",
        *([] if gains_privilege(manifest) else ["n"]),
        *([f"u = {command.uid}", f"g = {command.gid}"] if command.uid or command.gid else []),
        *(f"add-suppl-group = {group}" for group in command.groups if group != command.gid),
        f"bind-mount = {_path(jail)},/,{int(root_is_written(manifest))}",
        *(_bind(jail + path, path, False) for path in kept_read_only(manifest)),
        *(_bind(jail + place.path, place.path, True) for place in writable(manifest)),
    ]
    for entry in manifest.entries:
        if entry.type in DEVICES:
            # A jail that was built without root has no devices: those of the host are at the same place.
            lines.append(_bind(entry.path if beneath(entry.path, "/dev") else jail + entry.path, entry.path, True))
        elif entry.type is EntryType.SOCKET:
            raise ExportError(f"{entry.path!r}: a jail's directory holds no sockets of others", "learn it again with --exclude")
    for mount in manifest.mounts:
        if mount.type == "proc":
            lines += ["mount = proc,/proc,proc,MS_NOSUID|MS_NODEV|MS_NOEXEC"]
        else:
            lines.append(_bind(mount.path, mount.path, mount.type == "devpts"))
    lines += [_bind(source, path, True) for source, path in bound_sockets(manifest).items()]
    return ["\n".join([*lines, ""]).encode("utf-8")]


def _bind(source: str, place: str, writes: bool) -> str:
    there = _path(place)   # named first where neither can be said
    return f"bind-mount = {_path(source)},{there},{int(writes)}"


def _path(path: str) -> str:
    """A path in a list: there are no quotes, and what ends a word can't be in it."""
    if set(path) & set(",\n\r\\") or path != path.strip() or no_text(path):
        raise ExportError(f"{path!r}: a configuration of minijail0 can't hold this name", "take the format nsjail or bwrap")
    return path
