"""What the formats that start the program share: what it writes to, what is bound, which words a format can't say."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tracejail.errors import ExportError
from tracejail.model import Content, Entry, EntryType, Manifest, Written

from .request import Request

DEVICES = (EntryType.CHARACTER, EntryType.BLOCK)
# What a trial's root has, so that what was learned is known to do with it.
_NAMES = (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT AUDIT_WRITE SETFCAP"
)
CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())
_HOPS = 40       # links on the way to a file, as the kernel counts them
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def beneath(path: str, above: str) -> bool:
    """Whether a path lies in a directory, however deep; not where it is that directory."""
    return path != above and path.startswith(above.rstrip("/") + "/")


def writable(manifest: Manifest) -> list[Written]:
    """The outermost places that the program writes to. The root itself is none of them: see root_is_written."""
    found: list[Written] = []
    for place in sorted(manifest.written, key=lambda place: place.path.split("/")):
        if place.path != "/" and not any(place.path == each.path or beneath(place.path, each.path) for each in found):
            found.append(place)
    return found


def root_is_written(manifest: Manifest) -> bool:
    """Whether names come and go in the root directory itself."""
    return any(place.path == "/" for place in manifest.written)


def tops(manifest: Manifest) -> list[Entry]:
    """What lies in the root directory."""
    return [entry for entry in manifest.entries if entry.path.count("/") == 1]


def kept_read_only(manifest: Manifest) -> list[str]:
    """Where the root is written: the directories in it that are not, each of which is read-only by itself."""
    places = {place.path for place in manifest.written}
    found: list[str] = [one.path for one in tops(manifest) if one.type is EntryType.DIRECTORY and one.path not in places]
    return found if root_is_written(manifest) else []


def bound_sockets(manifest: Manifest) -> dict[str, str]:
    """Other programs' sockets: as the jail's programs name them, and where that is in the jail, links followed."""
    known: dict[str, Entry] = {entry.path: entry for entry in manifest.entries}
    found = {}
    for path in sorted({note.path for note in manifest.sockets if note.path.startswith("/")}):
        above, _, name = path.rpartition("/")
        directory = followed(above, known)
        found[path] = f"{directory.path}/{name}" if directory else path
    return found


def followed(path: str, known: Mapping[str, Entry]) -> Entry | None:
    """What a path of the jail is at the end of all links; None where it leads nowhere, or to the root."""
    left, at = path.split("/")[1:], ""
    for _ in range(_HOPS):
        while left:
            word = left.pop(0)
            if word in ("", "."):
                continue
            if word == "..":
                at = at.rpartition("/")[0]
                continue
            entry = known.get(f"{at}/{word}")
            if entry is None:
                return None
            if entry.type is EntryType.SYMLINK:
                at = "" if entry.target.startswith("/") else at
                left = [*entry.target.split("/"), *left]
                break
            if left and entry.type is not EntryType.DIRECTORY:
                return None
            at = entry.path
        else:
            return known.get(at)
    return None


def refuse_whole_secrets(manifest: Manifest) -> None:
    """Where the host's own files are shown: raises ExportError for a secret that the jail has a part of only."""
    for entry in manifest.entries:
        if entry.content is Content.ACCOUNTS and not entry.mode & 0o004:
            raise ExportError(
                f"{entry.path}: the host's has more accounts in it than the jail's, and is a secret", "take the format systemd"
            )


def variables(manifest: Manifest) -> tuple[str, ...]:
    """The names of the environment. Raises ExportError for one that no format can pass."""
    for name in manifest.command.environment:
        if not _VARIABLE.fullmatch(name):
            raise ExportError(f"{name!r}: not the name of a variable", "learn it again without it")
    return manifest.command.environment


def program(manifest: Manifest) -> str:
    """The absolute path of the program. Raises ExportError."""
    word, directory = manifest.command.argv[0], manifest.command.directory
    if word.startswith("/"):
        return word
    if "/" not in word:
        raise ExportError(f"{word!r}: the manifest has no path of this program", "learn it again by its path")
    return f"{directory.rstrip('/')}/{word}"


def gains_privilege(manifest: Manifest) -> str:
    """The path of a file whose execution gives more than its caller has: setuid, setgid, file capabilities; "" for none."""
    for entry in manifest.entries:
        capable = any(name == "security.capability" for name, _ in entry.xattrs)
        if entry.type is EntryType.FILE and (entry.mode & 0o6000 or capable):
            return entry.path
    return ""


def directory_of_jail(request: Request) -> str:
    """The path of the jail's directory. Raises ExportError."""
    if not request.jail.startswith("/"):
        raise ExportError("the manifest names no jail directory", "say which: -j DIR")
    return request.jail.rstrip("/")


def no_text(path: str) -> bool:
    """Whether a name is no UTF-8."""
    return not path.isascii() and any("\udc80" <= character <= "\udcff" for character in path)
