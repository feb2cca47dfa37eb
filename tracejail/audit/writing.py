"""What can be changed by whom it should not: files and directories open to all, and code that the program can write itself."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from tracejail.model import EntryType

from . import cure
from .facts import Facts, Item, Mounted
from .weakness import Severity, Weakness

_STICKY, _OTHERS, _GROUP = 0o1000, 0o002, 0o020
_SETTINGS = ("/etc/", "/usr/local/etc/", "/opt/etc/")
_CODE_PLACES = ("/usr/", "/lib", "/opt/", "/srv/", "/var/www/", "/var/lib/")
_SUFFIXES = (".py", ".pyc", ".pl", ".pm", ".php", ".phtml", ".rb", ".lua", ".js", ".cgi")
_PRELOAD = "/etc/ld.so.preload"
_MOST = 3    # files of a directory that are named
_KINDS = (EntryType.FILE, EntryType.DIRECTORY)


def open_to_all(facts: Facts) -> Iterator[Weakness]:
    """World-writable files and directories."""
    for item in facts.items:
        if item.type not in _KINDS or not item.mode & _OTHERS or facts.is_mounted(item.path, "ro"):
            continue
        written = facts.is_written(item.path)
        evidence = (item.standing, *(("the manifest has it as written",) if written else ()))
        if item.type is EntryType.FILE:
            severity = Severity.HIGH if item.is_code else Severity.LOW if written else Severity.MEDIUM
            yield Weakness(
                "world-writable-file", severity, item.path, f"{item.path} can be written by all users",
                "whoever is in the jail changes it", evidence, cure.change(facts, "chmod o-w --", item.path),
            )
            continue
        sticky = bool(item.mode & _STICKY)
        severity = (Severity.INFO if written else Severity.LOW) if sticky else Severity.LOW if written else Severity.MEDIUM
        yield Weakness(
            "world-writable-directory", severity, item.path,
            f"{item.path} can be written by all users{', and is sticky' if sticky else ''}",
            "an intruder's files find a place there" + ("" if sticky else ", and those of others can be replaced"),
            evidence, _narrower(facts, item, written or item.path in facts.entries),
        )


def _narrower(facts: Facts, item: Item, needed: bool) -> tuple[str, ...]:
    if not needed:
        return cure.change(facts, "chmod o-w --", item.path)
    if item.mode & _STICKY:
        return ("# the program needs it so: the manifest has it",)
    return cure.change(facts, "chmod +t --", item.path)


def open_to_groups(facts: Facts) -> Iterator[Weakness]:
    """Files and directories that a group may write to, where that is not root's."""
    for item in facts.items:
        theirs = item.type in _KINDS and item.mode & _GROUP and item.gid and not item.mode & _OTHERS
        if theirs and not facts.is_written(item.path) and not facts.is_mounted(item.path, "ro"):
            yield Weakness(
                "group-writable", Severity.LOW, item.path, f"{item.path} can be written by group {item.gid}",
                "whoever has that group changes it", (item.standing,), cure.change(facts, "chmod g-w --", item.path),
            )


def own_code(facts: Facts) -> Iterator[Weakness]:
    """What the program executes, loads or reads as its configuration, and can write itself."""
    for item in facts.files:
        who = facts.writer(item)
        if not who or facts.is_mounted(item.path, "ro"):
            continue
        remedy = cure.taken(facts, item)
        if item.is_code or _is_interpreted(item):
            yield Weakness(
                "writable-code", Severity.HIGH, item.path, f"{item.path} is {_kind(item)}, and {who}",
                "an intruder in the program puts his own code there, which runs from the next start on",
                (item.standing, *facts.need((item.path,))), remedy,
            )
        elif _is_settings(facts, item):
            yield Weakness(
                "writable-configuration", Severity.MEDIUM, item.path, f"{item.path} is read as configuration, and {who}",
                "an intruder in the program tells it what to load and whom to trust from the next start on",
                (item.standing, *facts.need((item.path,))), remedy,
            )
        elif facts.entries.get(item.path) is not None and not facts.is_written(item.path):
            yield Weakness(
                "writable-configuration", Severity.LOW, item.path, f"{item.path} was read and not written, and {who}",
                "an intruder in the program changes what it reads the next time, as the pages that it serves",
                (item.standing, *facts.need((item.path,))), remedy,
            )


def _kind(item: Item) -> str:
    return {"program": "a program", "library": "a library"}.get(item.contents.kind, "a script")


def _is_interpreted(item: Item) -> bool:
    """Whether it is code without saying so: an interpreter, or a web server, executes it by its name."""
    return item.path.startswith(_CODE_PLACES) and item.path.endswith(_SUFFIXES)


def preloaded(facts: Facts) -> Iterator[Weakness]:
    """ld.so.preload(8) names what is loaded into each program, those of root too."""
    for item in facts.files:
        for path in (item.path, *item.contents.loads) if item.path == _PRELOAD else ():
            changed = facts.end(path)
            who = changed and (facts.writer(changed) or ("all users may write to it" if changed.mode & _OTHERS else ""))
            if changed is None or not who or facts.is_mounted(changed.path, "ro"):
                continue
            yield Weakness(
                "preload", Severity.HIGH, changed.path, f"{changed.path} is loaded into each program, and {who}"
                if changed is not item else f"{changed.path} says what is loaded into each program, and {who}",
                "who changes it has his code run in all that starts in the jail, as root too",
                (changed.standing, *((f"{_PRELOAD} names {path}",) if changed is not item else ())),
                cure.taken(facts, changed),
            )


def _is_settings(facts: Facts, item: Item) -> bool:
    return item.path.startswith(_SETTINGS) and not facts.is_written(item.path)


def replaceable(facts: Facts) -> Iterator[Weakness]:
    """Directories that the program can write to, with code or configuration in them: a file there can be replaced."""
    held: dict[str, list[str]] = {}
    for item in facts.files:
        if item.is_code or _is_settings(facts, item):
            for above in facts.above_of(item.path):
                held.setdefault(above.path, []).append(item.path)
    for path, files in held.items():
        item = facts.by_path[path]
        who = facts.writer(item)
        if item.mode & _STICKY and not (who and _owns(facts, item)):
            continue
        if facts.is_mounted(path, "ro") or not (who or item.mode & _OTHERS):
            continue
        yield Weakness(
            "writable-directory", Severity.HIGH if any(facts.by_path[each].is_code for each in files) else Severity.MEDIUM, path,
            f"{path} holds code or configuration, and {who or 'all users may write to it'}",
            "a file is replaced by who may write to its directory, whatever its own mode is",
            (item.standing, *(f"in it: {each}" for each in files[:_MOST])),
            cure.taken(facts, item),
        )


def _owns(facts: Facts, item: Item) -> bool:
    return item.uid != 0 and (facts.daemon is None or item.uid == facts.daemon.uid)


def executable(facts: Facts) -> Iterator[Weakness]:
    """Places that are written, on a mount where what is put there can be executed."""
    by_mount: dict[Mounted, list[str]] = {}
    for path in _places(facts):
        mount = facts.mount_of(path)
        if mount is not None and not mount.flags & {"noexec", "ro"}:
            by_mount.setdefault(mount, []).append(path)
    for mount, paths in by_mount.items():
        more = f", as {len(paths) - 1} places more are" if len(paths) > 1 else ""
        yield Weakness(
            "written-executable", Severity.LOW, paths[0],
            f"{paths[0]} is written to{more}, and what is there can be executed",
            "an intruder's program runs from where the daemon writes its data",
            (f"mount {mount.path} type {mount.type} ({', '.join(sorted(mount.flags))}): noexec is missing",
             *(f"written: {path}" for path in paths[1:])),
            (*cure.stop(facts, *paths), *(_closed(facts, mount, path) for path in paths)),
        )


def _closed(facts: Facts, mount: Mounted, path: str) -> str:
    # A mount on itself is wanted where there is none yet.
    own = "" if path == mount.path else f"mount --bind {facts.quoted(path)} {facts.quoted(path)} && "
    return f"{own}mount -o remount,bind,noexec,nosuid,nodev {facts.quoted(path)}"


def _places(facts: Facts) -> Iterator[str]:
    """By the manifest; without one, directories that all or another than root may write to. Of nested ones the outermost."""
    found = [path for path in facts.written if path in facts.by_path] or ([] if facts.manifest else _open_directories(facts))
    done = ""
    for path in sorted(found):
        item = facts.by_path[path]
        place = path if item.type is EntryType.DIRECTORY else posixpath.dirname(path)
        if place in facts.by_path and not (done and f"{place}/".startswith(f"{done}/")):
            done = place
            yield place


def _open_directories(facts: Facts) -> list[str]:
    return [
        item.path for item in facts.items
        if item.type is EntryType.DIRECTORY and (item.mode & _OTHERS or facts.writer(item)) and not item.foreign
    ]
