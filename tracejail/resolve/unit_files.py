"""Where units lie beneath a host root: search path, aliases, templates, drop-ins and masks, as systemd.unit(5) says."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from tracejail.errors import UsageError
from tracejail.model import EntryType, JailPath

from .host import HostRoot, inspect, names, read_start

# First come, first served.
SEARCH = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
)
_LARGEST = 1 << 20  # bytes of a file
_MOST_ALIASES = 8   # that lead to one another
_NAME = re.compile(r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\@-]*)?\.[a-z]+")
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class UnitFiles:
    """A unit as it lies on the host: its own name, its aliases, and its texts in the order in which they are read."""

    name: str
    aliases: tuple[str, ...]
    paths: tuple[str, ...]
    texts: tuple[str, ...]


def full_name(word: str) -> str:
    """The name of a service unit that a word means: ".service" may be left away. Raises UsageError."""
    known = (".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount", ".slice", ".scope", ".swap", ".device")
    name = word if word.endswith(known) else word + ".service"
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(f"--unit {word}: not the name of a unit", "give NAME.service, or the path of a unit file")
    if not name.endswith(".service"):
        raise UsageError(f"--unit {word}: not a service", "name the .service that it starts")
    return name


def template_of(name: str) -> str:
    """The template of an instance, "" for another unit: a@b.service is made of a@.service."""
    prefix, at, rest = name.partition("@")
    return f"{prefix}@.{rest.rpartition('.')[2]}" if at and not rest.startswith(".") else ""


def find_unit(host: HostRoot, name: str) -> UnitFiles | None:
    """The unit of this name with all that is dropped in; None if there is none. Raises UsageError for a masked one."""
    names_known = [name]
    for _ in range(_MOST_ALIASES):
        found = _lookup(host, names_known[0]) or _from_template(host, names_known[0])
        if found is None:
            return None
        path, alias = found
        if not alias:
            return _with_drop_ins(host, path, tuple(names_known))
        names_known.insert(0, alias)
    raise UsageError(f"{name}: aliases that lead nowhere", "see the links of this name in /etc/systemd/system")


def unit_at(host: HostRoot, path: str) -> UnitFiles:
    """The unit of a file that lies anywhere, as `systemctl link` would have it. Raises UsageError."""
    name = full_name(os.path.basename(path))
    at = path if os.path.exists(path) or not template_of(name) else os.path.join(os.path.dirname(path), template_of(name))
    try:
        with open(at, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read(_LARGEST)
    except OSError as error:
        raise UsageError(f"{path}: {os.strerror(error.errno or 0)}", "name a unit, or a unit file that can be read") from None
    files = _with_drop_ins(host, "", (name,))
    return UnitFiles(name, files.aliases, (os.path.abspath(at), *files.paths), (text, *files.texts))


def not_found(host: HostRoot, name: str) -> UsageError:
    """What to say of a unit that is not there."""
    looked = [directory for directory in SEARCH if inspect(host, JailPath(directory))]
    root = "" if host.path == "/" else f" of {host.path}"
    where = f"no such unit in {', '.join(looked)}{root}" if looked else f"no directory of units is there, as {SEARCH[4]}{root}"
    stem = name.removesuffix(".service")
    if inspect(host, JailPath(f"/etc/init.d/{stem}")):
        return UsageError(f"{name}: {where}", f"/etc/init.d/{stem} is there: see which program it starts, and name that")
    return UsageError(f"{name}: {where}", "see systemctl list-unit-files, or give the path of a unit file")


def templates_beside(host: HostRoot, name: str) -> str:
    """The template that bears the name of a plain unit, "" if there is none."""
    template = name.removesuffix(".service") + "@.service"
    return template if "@" not in name and _lookup(host, template) else ""


def _lookup(host: HostRoot, name: str) -> tuple[str, str] | None:
    """Where a name lies: (path, "") of a file, or ("", the other name) of an alias. Raises UsageError: it is masked."""
    for directory in SEARCH:
        path = f"{directory}/{name}"
        node = inspect(host, JailPath(path))
        if node is None:
            continue
        if node.type is EntryType.SYMLINK:
            target = os.path.normpath(os.path.join(directory, node.target))
            if target == "/dev/null":
                raise _masked(name, f"{path} leads to /dev/null")
            if os.path.dirname(target) in SEARCH and os.path.basename(target) != name:
                return "", _instance_of(name, os.path.basename(target))
            return path, ""
        if node.type is EntryType.FILE and node.size == 0:
            raise _masked(name, f"{path} is empty")
        if node.type is EntryType.FILE:
            return path, ""
    return None


def _masked(name: str, how: str) -> UsageError:
    return UsageError(f"{name}: is masked, {how}", "systemctl unmask it, or give the path of its file")


def _instance_of(name: str, target: str) -> str:
    """What an alias means: an alias of a template is one of each of its instances."""
    instance = name.partition("@")[2].rpartition(".")[0]
    return target.replace("@.", f"@{instance}.", 1) if instance and "@." in target else target


def _from_template(host: HostRoot, name: str) -> tuple[str, str] | None:
    template = template_of(name)
    found = _lookup(host, template) if template else None
    if found is None or not found[1]:
        return found
    return "", _instance_of(name, found[1])


# --- drop-ins ---------------------------------------------------------------------------------------------------------


def _with_drop_ins(host: HostRoot, path: str, known: tuple[str, ...]) -> UnitFiles:
    aliases = (*known[1:], *(alias for alias in _aliases(host, known[0]) if alias not in known))
    # The first of one file name wins, and an empty one takes it away; the winners are read in the order of their names.
    found: dict[str, str] = {}
    for name in (*(each for one in (known[0], *aliases) for each in _also_called(one)), known[0].rpartition(".")[2]):
        for directory in (f"{place}/{name}.d" for place in SEARCH):
            node = inspect(host, JailPath(directory + "/."))  # through a link
            if node is not None and node.type is EntryType.DIRECTORY:
                for file in names(host, JailPath(directory + "/.")):
                    if file.endswith(".conf"):
                        found.setdefault(file, f"{directory}/{file}")
    paths = [path] if path else []
    paths += [found[file] for file in sorted(found)]
    texts = [read_start(host, JailPath(each), _LARGEST).decode("utf-8", "surrogateescape") for each in paths]
    kept = [(each, text) for each, text in zip(paths, texts, strict=True) if text]
    return UnitFiles(known[0], aliases, tuple(each for each, _ in kept), tuple(text for _, text in kept))


def _also_called(name: str) -> list[str]:
    """The names whose drop-ins are for a unit, the closest first: a-b@c.service, a-b@.service, a-.service."""
    called = [name, *([template_of(name)] if template_of(name) else [])]
    for one in tuple(called):
        prefix, dot, suffix = one.rpartition(".")
        prefix, at, instance = prefix.partition("@")
        while "-" in prefix.rstrip("-"):
            prefix = prefix.rstrip("-").rpartition("-")[0] + "-"
            called.append(f"{prefix}{at}{instance}{dot}{suffix}")
    return called


def _aliases(host: HostRoot, name: str) -> list[str]:
    """Other names of a unit: links in the search path that lead to its name."""
    suffix = name[name.rindex(".") :]
    found = []
    for directory in SEARCH:
        for each in names(host, JailPath(directory)) if inspect(host, JailPath(directory)) else []:
            node = inspect(host, JailPath(f"{directory}/{each}")) if each.endswith(suffix) and each != name else None
            if node is not None and node.type is EntryType.SYMLINK:
                target = os.path.normpath(os.path.join(directory, node.target))
                if os.path.dirname(target) in SEARCH and os.path.basename(target) == name:
                    found.append(each)
    return list(dict.fromkeys(found))
