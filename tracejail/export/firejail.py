"""firejail: a profile that hides all but the jail's files of the host (firejail-profile(5)).

A profile can't change the root directory. What it can: show only listed names of a directory in the root, and hide those
directories that are known by name. So the host's files are seen, whole, and directories that only this host has in its root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tracejail.errors import ExportError
from tracejail.model import EntryType, Manifest

from .box import CAPABILITIES, beneath, bound_sockets, gains_privilege, refuse_whole_secrets, root_is_written, writable
from .request import Request, parents_first

_PLAIN = re.compile(r"/[A-Za-z0-9_@+=:./-]*")
# Of the Filesystem Hierarchy Standard, less those that are links to others now, and less what firejail itself needs.
_TOPS = ("/boot", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/sys", "/tmp", "/var")
# What firejail would replace or make read-only by itself.
_KEPT = {
    "/etc": "writable-etc", "/var": "writable-var", "/var/log": "writable-var-log", "/var/tmp": "keep-var-tmp",
    "/dev/shm": "keep-dev-shm", "/run/user": "writable-run-user",
}
_FIRST_USER, _NOBODY = 1000, 65534     # UID_MIN of login.defs(5) as it comes; firejail asks the host's
_SEEN = ("/dev/pts", "/dev/ptmx")       # of devpts; /proc is there always, and /sys where it is not hidden


def firejail(request: Request) -> Iterable[bytes]:
    """The profile."""
    manifest, command = request.manifest, request.manifest.command
    refuse_whole_secrets(manifest)
    if command.uid and (command.uid < _FIRST_USER or command.uid == _NOBODY):
        raise ExportError(
            f"{command.user or str(command.uid)!r}: firejail starts what is a system user's outside of its sandbox, or not",
            "take the format systemd or bwrap",
        )
    if manifest.host.root != "/":
        raise ExportError(f"{manifest.host.root!r}: firejail shows files of the host's root only", "take the format bwrap")
    if root_is_written(manifest):
        raise ExportError("'/': firejail shows the host's root, which it writes to", "take the format systemd or bwrap")
    places = [place.path for place in writable(manifest)]
    shown, empty = _shown(manifest, places)
    shown += [_path(path) for path in bound_sockets(manifest)]
    mounted = {mount.type for mount in manifest.mounts}
    shown += _SEEN if "devpts" in mounted else ()
    kept = [*shown, *(["/sys"] if "sysfs" in mounted else [])]
    hidden = [top for top in _TOPS if not any(path == top or beneath(path, top) for path in kept)]
    capabilities = ",".join(name.removeprefix("CAP_").lower() for name in CAPABILITIES)
    lines = [
        "# Made by tracejail. The host's own files, whole; directories in / that have no line here are seen too.",
        *([f"# For the user {command.uid}, group {command.gid}: firejail does not change the user."] if command.uid else []),
        "quiet",
        *([] if gains_privilege(manifest) else ["nonewprivs"]),
        "caps.drop all" if command.uid else f"caps.keep {capabilities}",
        "ipc-namespace",
        *(word for path, word in _KEPT.items() if any(place == path or beneath(place, path) for place in places)),
        f"private-cwd {_path(command.directory)}",
        *(f"whitelist {path}" for path in dict.fromkeys(shown)),
        *(f"blacklist {path}" for path in hidden),
        "read-only /",
        *(f"tmpfs {path}" for path in empty),
        *(f"read-write {_path(path)}" for path in places),
        "",
    ]
    return ["\n".join(lines).encode("ascii")]


def _shown(manifest: Manifest, places: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is shown, and which of it are directories that are empty in the jail."""
    for path in places:
        if path.count("/") == 1:  # firejail 0.9.72: "invalid whitelist path"
            raise ExportError(f"{path!r}: firejail shows no directory of the root by itself", "bwrap or systemd can")
    shown, empty = [_path(path) for path in places], []
    for entry in parents_first(manifest):
        if any(entry.path == place or beneath(entry.path, place) for place in places):
            continue
        path = _path(entry.path)
        if entry.type is not EntryType.DIRECTORY:
            # A link in the root stays, as the root does.
            shown += [path] if path.count("/") > 1 else []
        elif not any(beneath(each.path, entry.path) for each in manifest.entries) and path.count("/") > 1:
            if manifest.command.uid:
                raise ExportError(f"{path!r}: firejail hides what is in it for root only", "take the format bwrap")
            shown.append(path)
            empty.append(path)
    return shown, empty


def _path(path: str) -> str:
    if not _PLAIN.fullmatch(path) or ".." in path:
        raise ExportError(f"{path!r}: a profile of firejail can't hold this name", "take the format bwrap")
    return path
