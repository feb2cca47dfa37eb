"""systemd-bind: a service unit without a jail directory. Its root is empty, and in it are the host's own files, each bound.

systemd 252 makes no links in such a root but beside a directory that it makes itself. So a name that leads over a link is
bound too, to what the link leads to: the program finds each file in every spelling in which the jail has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tracejail.errors import ExportError
from tracejail.model import Entry, EntryType, Manifest, Use, Written

from .box import beneath, followed, refuse_whole_secrets, root_is_written, writable
from .request import Request, parents_first
from .systemd import Made, mounts, sockets, unit
from .unit_words import quoted

_MOST = 5000     # mounts; each takes the manager some time at each start
_TEMPORARY = ("/tmp", "/var/tmp")


def systemd_bind(request: Request) -> Iterable[bytes]:
    """The service unit."""
    manifest = request.manifest
    refuse_whole_secrets(manifest)
    made, lines, hidden = Made(), [], []
    for directory in manifest.command.service.directories:
        made.take(directory.path, directory.mode, (directory.uid, directory.gid), manifest)
    temporary = False
    for place in writable(manifest):
        if place.path in _TEMPORARY:
            temporary = True
        elif place.type is EntryType.DIRECTORY and made.take(place.path, place.mode, (place.uid, place.gid), manifest):
            pass
        elif place.type is EntryType.DIRECTORY and (place.use is Use.RUN or place.path == "/dev/shm"):
            lines.append(f"TemporaryFileSystem={_temporary(place.path, place)}")
        else:
            lines.append(f"BindPaths={_bound(manifest, place.path, place.path)}")
            hidden.append(place.path)
    # What a directive makes on the host is not in an empty root by itself.
    lines += [f"BindPaths={quoted(path, path)}" for path in sorted(made.paths)]
    shown = {path: entry for path, entry in _names(manifest).items() if not _is_in(path, hidden)}
    bound = {path for path, entry in shown.items() if entry.type is not EntryType.DIRECTORY}
    held = {path[: at] for path in (*bound, *made.paths, *hidden) for at in range(1, len(path)) if path[at] == "/"}
    places = {place.path for place in manifest.written} | {mount.path for mount in manifest.mounts}
    for path, entry in shown.items():
        if entry.type is not EntryType.DIRECTORY:
            lines.append(f"BindReadOnlyPaths={_bound(manifest, entry.path, path)}")
        elif path not in held and path not in made.paths and path not in places and not (temporary and path in _TEMPORARY):
            lines.append(f"TemporaryFileSystem={_temporary(path, entry)}")
    lines += sockets(manifest)
    if manifest.command.ready == "notify":
        lines.append("BindReadOnlyPaths=/run/systemd/notify")
    top = [
        "# The root is empty, but for what is bound here: the host's own files. /etc/passwd and its kin are whole.",
        f"TemporaryFileSystem=/{'' if root_is_written(manifest) else ':ro'}",
        *mounts(manifest),
        *made.lines(),
        *(["PrivateTmp=yes"] if temporary else []),
    ]
    return unit(request, [*top, *lines], manifest.command.service.pid_file)


def _is_in(path: str, directories: Sequence[str]) -> bool:
    return any(path == each or beneath(path, each) for each in directories)


def _bound(manifest: Manifest, source: str, path: str) -> str:
    host = manifest.host.root.rstrip("/") + source
    return quoted(host, path) if host == path else f"{quoted(host, path)}:{quoted(path, path)}"


def _temporary(path: str, like: Entry | Written) -> str:
    if ":" in path or "\\" in path:
        raise ExportError(f"{path!r}: systemd can't make a directory of this name", "take the format systemd")
    access = "" if isinstance(like, Written) else "ro,"
    return quoted(f"{path}:{access}mode={like.mode:04o},uid={like.uid},gid={like.gid}", path)


def _names(manifest: Manifest) -> dict[str, Entry]:
    """All names by which files and directories of the jail can be reached, with links or without, and what each is."""
    known: dict[str, Entry] = {entry.path: entry for entry in manifest.entries}
    children: dict[str, list[Entry]] = {}
    for entry in parents_first(manifest):
        children.setdefault(entry.path.rpartition("/")[0], []).append(entry)
    found: dict[str, Entry] = {}
    for path, entry in _walk("", "", children, known, ()):
        found[path] = entry
        if len(found) > _MOST:
            raise ExportError(f"{path!r}: there are more than {_MOST} names, links followed", "take the format systemd")
    return found


def _walk(
    path: str, directory: str, children: dict[str, list[Entry]], known: dict[str, Entry], taken: tuple[str, ...]
) -> Iterator[tuple[str, Entry]]:
    """What lies in a directory, named by `path`. A link that was `taken` on the way is not taken again."""
    for entry in children.get(directory, ()):
        end: Entry | None = entry
        links = taken
        if entry.type is EntryType.SYMLINK:
            end = None if entry.path in taken else followed(entry.path, known)
            links = (*taken, entry.path)
        if end is None:
            continue
        name = f"{path}/{entry.path.rpartition('/')[2]}"
        yield name, end
        if end.type is EntryType.DIRECTORY:
            yield from _walk(name, end.path, children, known, links)
