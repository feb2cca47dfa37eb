"""bwrap: NUL-separated arguments for `bwrap --args FD`, the command aside, which bwrap takes from its command line only.

The root is a file system in memory. In it are links, devices, and directories that hold something of the host's own, as a
socket; all else is bound from the jail's directory, read-only but for what was written to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tracejail.errors import ExportError
from tracejail.model import Entry, EntryType, Manifest

from .box import (
    CAPABILITIES,
    DEVICES,
    beneath,
    bound_sockets,
    directory_of_jail,
    kept_read_only,
    root_is_written,
    tops,
    writable,
)
from .request import Request, parents_first

_MOST = 9000       # arguments, as bwrap counts


def bwrap(request: Request) -> Iterable[bytes]:
    """The options, each ended by NUL."""
    words = [*_root(request), *_process(request.manifest)]
    if len(words) > _MOST:
        raise ExportError(f"bwrap takes {_MOST} arguments, not {len(words)}", "take the format systemd, nsjail or oci")
    return (os.fsencode(word) + b"\0" for word in words)


def _process(manifest: Manifest) -> Iterator[str]:
    command = manifest.command
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-uts", "--die-with-parent")
    if command.uid or command.gid:
        yield from ("--unshare-user", "--uid", str(command.uid), "--gid", str(command.gid))
    else:
        yield from (word for name in CAPABILITIES for word in ("--cap-add", name))
    yield from ("--chdir", command.directory)


def _root(request: Request) -> Iterator[str]:
    manifest, jail = request.manifest, directory_of_jail(request)
    places: set[str] = {place.path for place in writable(manifest)}
    sockets = bound_sockets(manifest)
    mounted: dict[str, str] = {mount.path: mount.type for mount in manifest.mounts}
    devices: set[str] = {entry.path for entry in manifest.entries if entry.type in DEVICES}
    special = [*sockets.values(), *mounted, *devices]
    # Directories that are made in memory, as something that is not of the jail lies in them.
    made: set[str] = {
        entry.path for entry in manifest.entries
        if entry.type is EntryType.DIRECTORY and any(beneath(each, entry.path) for each in special)
        and not any(entry.path == place or beneath(entry.path, place) for place in places)
    }
    if root_is_written(manifest):
        yield from ("--bind", jail, "/")
        yield from (word for path in kept_read_only(manifest) for word in ("--ro-bind", jail + path, path))
    else:
        yield from _bound(manifest, jail, made, set(mounted))
    for place in sorted(places):
        yield from ("--bind", jail + place, place)
    for device in sorted(devices):
        # A jail that was built without root has no devices: those of the host are at the same place.
        yield from ("--dev-bind", device if beneath(device, "/dev") else jail + device, device)
    for at, kind in sorted(mounted.items()):
        yield from ("--proc", at) if kind == "proc" else ("--dev-bind" if kind == "devpts" else "--ro-bind", at, at)
    for source, at in sockets.items():
        yield from ("--bind-try", source, at)
    if not root_is_written(manifest):
        yield from ("--remount-ro", "/")


def _bound(manifest: Manifest, jail: str, made: set[str], mounted: set[str]) -> Iterator[str]:
    """What lies in the root, and in directories that are made: each once, with what is in it."""
    first = {entry.path for entry in tops(manifest)}
    for entry in parents_first(manifest):
        path = entry.path
        if path not in first and path.rpartition("/")[0] not in made or entry.type in DEVICES:
            continue
        if path in mounted and path not in made:
            continue
        if path in made:
            yield from _directory(entry)
        elif entry.type is EntryType.SYMLINK:
            yield from ("--symlink", entry.target, path)
        else:
            yield from ("--ro-bind", jail + path, path)


def _directory(entry: Entry) -> tuple[str, ...]:
    if (entry.uid or entry.gid) and entry.mode & 0o005 != 0o005:
        raise ExportError(
            f"{entry.path}: bwrap can't make a directory of this owner, and something of the host is bound in it",
            "take the format systemd, nsjail or oci",
        )
    return ("--perms", f"{entry.mode:04o}", "--dir", entry.path)
