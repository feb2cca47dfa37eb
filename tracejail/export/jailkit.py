"""jailkit: a section of jk_init.ini, from which jk_init(8) makes a jail of the host's files.

It copies links and directories with what they lead to, so a directory is named only where it is empty or is a link to one.
Accounts are named, never their files: jk_init would copy those whole. It puts in what ldd(1) finds beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tracejail.errors import ExportError
from tracejail.model import Content, Entry, EntryType, Manifest

from .box import DEVICES, beneath, followed, no_text
from .request import Request, parents_first

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ACCOUNT = re.compile(r"[A-Za-z0-9_.$-]+")
# jk_init gives such a name to a shell, to run ldd(1) with it.
_SHELL = re.compile(r"[^A-Za-z0-9_@%+=:,./-]")
_PATTERN = re.compile(r"[*?]|\[.*\]", re.DOTALL)
_FILES_OF_ACCOUNTS = ("/etc/passwd", "/etc/group")
_LOG = "/dev/log"
_HINT = "take the format tar or rsync"


def jailkit(request: Request) -> Iterable[bytes]:
    """The section."""
    manifest = request.manifest
    name = request.name or manifest.command.argv[0].rpartition("/")[2]
    if not _NAME.fullmatch(name) or name == "DEFAULT":
        raise ExportError(f"{name!r}: not the name of a section", "say one: --name NAME")
    if manifest.host.root != "/":
        raise ExportError(f"{manifest.host.root}: jk_init copies from the host's root only", _HINT)
    lists = _lists(manifest)
    for mount in manifest.mounts:
        if mount.type != "proc":
            raise ExportError(f"{mount.path}: jk_init mounts no {mount.type}", _HINT)
    for note in manifest.sockets:
        if note.path != _LOG:
            raise ExportError(f"{note.path!r}: jk_init binds no socket of another program", "take the format systemd")
    lines = []
    if links := lists.pop("links"):
        # Before all else: jk_init ends with an error where such a link is made after what it leads to has something in it.
        lines += [f"[{name}-links]", f"comment = links to directories of {name}", f"emptydirs = {_joined(links)}", ""]
    lines += [f"[{name}]", f"comment = {name}, learned by tracejail"]
    lines += [f"includesections = {name}-links"] if links else []
    lines += [f"{key} = {_joined(paths)}" for key, paths in lists.items() if paths]
    lines += ["need_proc = 1"] if manifest.mounts else []
    lines += ["need_logsocket = 1"] if manifest.sockets else []
    return ["\n".join([*lines, ""]).encode("utf-8")]


def _joined(words: Iterable[str]) -> str:
    return ",\n\t".join(word.replace("%", "%%") for word in words)


def _lists(manifest: Manifest) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {
        key: [] for key in ("links", "paths", "paths_w_owner", "paths_w_setuid", "emptydirs", "users", "groups", "devices")
    }
    known: dict[str, Entry] = {entry.path: entry for entry in manifest.entries}
    for entry in parents_first(manifest):
        # An account's line is copied by its name, and the loader's cache is made anew.
        accounts = entry.path in _FILES_OF_ACCOUNTS and entry.content is Content.ACCOUNTS
        if accounts or entry.content is Content.LD_CACHE:
            continue
        _refuse_name(entry.path)
        found[_list_of(entry, known)].append(entry.path)
    # A directory that holds something is made with it.
    found["emptydirs"] = [path for path in found["emptydirs"] if not any(beneath(each, path) for each in known)]
    for key, names in (("users", manifest.accounts.users), ("groups", manifest.accounts.groups)):
        for name in names:
            if not _ACCOUNT.fullmatch(name):
                raise ExportError(f"{name!r}: a list of jk_init.ini can't hold this account", _HINT)
        found[key] = list(names)
    if manifest.accounts.everything:
        raise ExportError("all accounts are in the jail, and jk_init copies by name", "learn it with --accounts used")
    return found


def _refuse_name(path: str) -> None:
    why = ""
    if "," in path or "\n" in path or "\r" in path or path != path.strip() or no_text(path):
        why = "a list of jk_init.ini can't hold this name"
    elif _PATTERN.search(path):
        why = "jk_init would take this name for a pattern"
    if why:
        raise ExportError(f"{path!r}: {why}", _HINT)


def _list_of(entry: Entry, known: dict[str, Entry]) -> str:
    why, key = "", "paths"
    if entry.xattrs:
        why = "jk_init copies no extended attributes"
    elif entry.type is EntryType.DIRECTORY:
        why, key = _why_no_directory(entry, known), "emptydirs"
    elif entry.type is EntryType.SYMLINK:
        end = followed(entry.path, known)
        why = "" if end else "jk_init would copy what this link leads to, which is none of the jail's"
        key = "links" if end and end.type is EntryType.DIRECTORY else key
    elif entry.type in DEVICES:
        major, minor = entry.device or (0, 0)
        why, key = "jk_init knows no such device number" if major > 4095 or minor > 255 else "", "devices"
    elif entry.type is not EntryType.FILE:
        why = f"jk_init makes no {entry.type.value}"
    elif entry.content in (Content.ACCOUNTS, Content.EMPTY):
        why = "jk_init would copy the whole of the host's, which the jail has not"
    elif entry.mode & 0o6000:
        key = "paths_w_setuid"
    elif entry.uid or entry.gid:
        key = "paths_w_owner"
    is_program = entry.mode & 0o111 or "lib" in entry.path or ".so" in entry.path   # as jk_init takes it
    if not why and entry.type is EntryType.FILE and is_program and _SHELL.search(entry.path):
        why = "jk_init would give this name to a shell"
    if why:
        raise ExportError(f"{entry.path!r}: {why}", _HINT)
    return key


def _why_no_directory(entry: Entry, known: dict[str, Entry]) -> str:
    if entry.uid or entry.gid:
        return "jk_init makes directories of root's only"
    if entry.mode & 0o6000:
        return "jk_init makes no directory with a set bit"
    # The permissions are copied with the first file that needs the directory, unless a link made it before.
    inside = [each for each in known.values() if beneath(each.path, entry.path)]
    copied = any(each.type is EntryType.FILE and each.content is Content.HOST for each in inside)
    ends = [followed(each.path, known) for each in known.values() if each.type is EntryType.SYMLINK]
    before = any(end and end.type is EntryType.DIRECTORY and (end is entry or beneath(end.path, entry.path)) for end in ends)
    return "" if copied and not before or entry.mode == 0o755 else f"jk_init makes it with the mode 0755, not {entry.mode:04o}"
