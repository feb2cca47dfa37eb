"""Actions that cure a finding, and the plain commands that do the same: pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import groupby

from tracejail.model import EntryType

from .facts import Facts, Node
from .finding import Action, Kind

_SETTINGS = "/etc/"
_WHOLE = (_SETTINGS, "/usr/lib/", "/usr/share/", "/usr/local/", "/opt/")   # what is beneath is brought whole
_MOST = 2000      # directories of a tree that are looked into
_START = 4096     # bytes of a file that may be a key
_COPIED = (EntryType.FILE, EntryType.SYMLINK, EntryType.CHARACTER)


def bring(facts: Facts, path: str, base: str = "/") -> tuple[Action, ...]:
    """Whatever of a path the jail lacks, from the host: directories, links, the object; for a program its interpreters and
    libraries too. () where the host has it not, or nothing is lacking."""
    way = facts.host.way(path, base=base)
    if way.found is None:
        return ()
    stale = facts.jail.node(way.found.path)
    a_link = stale is not None and stale.type is EntryType.SYMLINK
    if a_link and way.found.type is EntryType.FILE and facts.jail.way(path, base=base).found is None:
        return Action(Kind.REMOVE, way.found.path), Action(Kind.COPY, way.found.path)
    actions = {action.path: action for hop in way.hops if (action := _hop(facts, hop))}
    if way.found.type is EntryType.FILE:
        for need in facts.host.needs(way.found.path):
            for hop in facts.host.way(need, follow=False).hops:
                action = _hop(facts, hop)
                if action:
                    actions.setdefault(action.path, action)
    return tuple(actions.values())


def bring_tree(facts: Facts, path: str) -> tuple[Action, ...]:
    """A directory of the host's with all beneath it but secrets; what is there of it stays as it is. Where it may hold the
    data of users, or half of the system, the directory alone."""
    way = facts.host.way(path)
    if way.found is None or way.found.type is not EntryType.DIRECTORY:
        return bring(facts, path)
    if not way.found.path.startswith(_WHOLE):
        return make_directory(facts, path)
    actions = [action for hop in way.hops if (action := _hop(facts, hop)) and action.path != way.found.path]
    return (*actions, Action(Kind.TREE, way.found.path, "\n".join(_secrets(facts, way.found.path))))


def _secrets(facts: Facts, directory: str) -> list[str]:
    found, pending = [], [directory]
    for above in pending:
        for name in facts.host.names(above):
            node = facts.host.node(f"{above}/{name}")
            if node is None or node.foreign or len(pending) > _MOST:
                continue
            if node.type is EntryType.DIRECTORY:
                pending.append(node.path)
            elif node.type is EntryType.FILE and _secret(facts, node):
                found.append(node.path)
    return found


def _secret(facts: Facts, node: Node) -> str:
    start = facts.host.start(node.path, _START) if node.path.startswith(_SETTINGS) else b""
    return facts.secret(node.path, start) or ""


def _hop(facts: Facts, hop: Node) -> Action | None:
    there = facts.jail.node(hop.path)
    if there is not None:
        return None
    if hop.foreign and hop.type is not EntryType.DIRECTORY:
        return None
    if hop.type is EntryType.DIRECTORY:
        return Action(Kind.DIRECTORY, hop.path, mode=hop.mode, uid=hop.uid, gid=hop.gid)
    if hop.type in _COPIED:
        return Action(Kind.COPY, hop.path, _secret(facts, hop) if hop.type is EntryType.FILE else "")
    return None


def make_directory(facts: Facts, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> tuple[Action, ...]:
    """A directory and those above it that the jail lacks: as the host has them, else as said."""
    actions = []
    above = ""
    for part in path.strip("/").split("/"):
        above += "/" + part
        if facts.jail.way(above).found is None:
            found = facts.host.way(above).found
            if found is not None and found.type is EntryType.DIRECTORY:
                actions.append(Action(Kind.DIRECTORY, above, mode=found.mode, uid=found.uid, gid=found.gid))
            elif above == path:
                actions.append(Action(Kind.DIRECTORY, above, mode=mode, uid=uid, gid=gid))
            else:
                actions.append(Action(Kind.DIRECTORY, above))
    return tuple(actions)


def commands(actions: Sequence[Action], jail: str, host: str = "/") -> list[str]:
    """The shell commands that do the actions to the jail, each a line that can be pasted; both roots are absolute. A jail that
    can be reached by /proc/PID/root only has mounts of its own, and none can be made there from here.

    From within the host root: cp of coreutils 9.1 with --parents and absolute names copies all, and ends with status 1.
    """
    lines: list[str] = []
    for (root, of_jail), there in groupby(actions, key=lambda action: (action.root, action.of_jail)):
        lines += _commands(list(there), jail.rstrip("/") + root, jail if of_jail else host)
    return lines


def _commands(actions: Sequence[Action], jail: str, host: str) -> list[str]:
    lines: list[str] = []
    copied: list[str] = []
    parents = {above for action in actions if action.kind in (Kind.COPY, Kind.TREE) for above in _above(action.path)}

    def flush() -> None:
        if copied:
            names = " ".join(shlex.quote("./" + path.lstrip("/") if path.startswith("/-") else path[1:]) for path in copied)
            lines.append(f"cd {shlex.quote(host)} && cp -a --parents {names} {shlex.quote(jail + '/')}")
            copied.clear()

    for action in actions:
        if action.kind in (Kind.COPY, Kind.TREE) and not action.text:
            copied.append(action.path)
        elif action.kind is Kind.DIRECTORY and action.path in parents:
            continue  # cp --parents makes it, as the host has it
        else:
            flush()
            lines += _command(action, jail, host)
    flush()
    return lines


def _above(path: str) -> Iterable[str]:
    while (path := path.rpartition("/")[0]):
        yield path


def _command(action: Action, jail: str, host: str) -> list[str]:
    place = shlex.quote(jail.rstrip("/") + action.path)
    text = shlex.quote(action.text)
    match action.kind:
        case Kind.COPY:
            name = shlex.quote("." + action.path)
            return [
                f"# {action.path} is a secret ({action.text}): only if the program must read it",
                f"cd {shlex.quote(host)} && cp -a --parents {name} {shlex.quote(jail + '/')}",
            ]
        case Kind.TREE:
            left = " ".join(f"--exclude={shlex.quote('.' + path)}" for path in action.text.splitlines())
            name = shlex.quote("." + action.path)
            return [f"cd {shlex.quote(host)} && tar -c {left} {name} | tar -xp -C {shlex.quote(jail)}"]
        case Kind.DIRECTORY:
            return [f"install -d -m {action.mode:04o} -o {action.uid} -g {action.gid} {place}"]
        case Kind.DEVICE:
            return [f"mknod -m {action.mode:04o} {place} c {action.device[0]} {action.device[1]}"]
        case Kind.LINK:
            return [f"ln -s {text} {place}"]
        case Kind.MODE:
            return [f"chmod {action.mode:04o} {place}"]
        case Kind.OWNER:
            return [f"chown -h {action.uid}:{action.gid} {place}"]
        case Kind.CHANGEABLE:
            return [f"chattr -i -a {place}"]
        case Kind.REMOVE:
            return [f"rm {place}"]
        case Kind.LINE:
            return [f"printf '%s\\n' {text} >> {place}"]
        case Kind.CACHE:
            return [f"ldconfig -r {shlex.quote(jail)}"]
        case Kind.MOUNT if jail.startswith("/proc/"):
            what = f"--bind {text}" if action.text.startswith("/") else f"-t {text} {text}"
            return [f"# in the mount namespace of process {jail.split('/')[2]}: mount {what} {shlex.quote(action.path)}"]
        case Kind.MOUNT if action.text.startswith("/"):
            return [f"mkdir -p {place}", f"mount --bind {text} {place}"]
        case Kind.MOUNT:
            return [f"mkdir -p {place}", f"mount -t {action.text} {action.text} {place}"]
        case _:
            return [f"# {line}" for line in action.text.splitlines()]
