"""Actions that cure a finding, and the plain commands that do the same: pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import groupby

from tracejail.model import EntryType

from .facts import Facts, Node, Way
from .finding import Action, Kind

_SETTINGS = "/etc/"
_WHOLE = (_SETTINGS, "/usr/lib/", "/usr/share/", "/usr/local/", "/opt/")   # what is beneath is brought whole
_MOST = 5000      # names of a tree that are looked at
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
        return Action(Kind.REMOVE, way.found.path), Action(Kind.COPY, way.found.path, _secret(facts, way.found))
    actions = {action.path: action for action in _own_way(facts, way, path)}
    if way.found.type is EntryType.FILE:
        for need in facts.host.needs(way.found.path):
            there = facts.host.way(need)
            ended = _own_way(facts, there, need) or tuple(
                action for hop in facts.host.way(need, follow=False).hops if (action := _hop(facts, hop))
            )
            for action in ended:
                actions.setdefault(action.path, action)
    return tuple(actions.values())


def _own_way(facts: Facts, way: Way, path: str) -> tuple[Action, ...]:
    """What of a way of the host's the jail lacks. Where it has a directory in the place of a link, as jails have it that were
    made before /bin became one, the file goes where the jail's way leads."""
    own = any(
        hop.type is EntryType.SYMLINK and (there := facts.jail.node(hop.path)) is not None and there.type is EntryType.DIRECTORY
        for hop in way.hops
    )
    if not own or way.found is None or way.found.type is not EntryType.FILE:
        return tuple(action for hop in way.hops if (action := _hop(facts, hop)))
    if facts.jail.way(path).found is not None:
        return ()
    place = facts.settled(path)
    if place == way.found.path:
        return tuple(action for hop in way.hops if (action := _hop(facts, hop)))
    return (Action(Kind.COPY, place, _secret(facts, way.found), source=way.found.path),)


def bring_tree(facts: Facts, path: str) -> tuple[Action, ...]:
    """A directory of the host's with all beneath it but secrets; what is there of it stays as it is. Where it may hold the
    data of users, or half of the system, the directory alone."""
    way = facts.host.way(path)
    if way.found is None or way.found.type is not EntryType.DIRECTORY:
        return bring(facts, path)
    if not way.found.path.startswith(_WHOLE):
        return make_directory(facts, path)
    secrets = _secrets(facts, way.found.path)
    if secrets is None:
        return make_directory(facts, path)
    actions = [action for hop in way.hops if (action := _hop(facts, hop)) and action.path != way.found.path]
    return (*actions, Action(Kind.TREE, way.found.path, "\0".join(secrets)))


def _secrets(facts: Facts, directory: str) -> list[str] | None:
    """The files beneath that are; None where there are too many to look at."""
    found, pending = [], [directory]
    seen = 0
    for above in pending:
        for name in facts.host.names(above):
            node = facts.host.node(f"{above}/{name}")
            seen += 1
            if seen > _MOST:
                return None
            if node is None or node.foreign:
                continue
            if node.type is EntryType.DIRECTORY:
                pending.append(node.path)
            elif node.type is EntryType.FILE and _secret(facts, node):
                found.append(node.path)
    return found


def _secret(facts: Facts, node: Node) -> str:
    return facts.secret(node.path, facts.host.start(node.path, _START)) or ""


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
            names = " ".join(quote("./" + path.lstrip("/") if path.startswith("/-") else path[1:]) for path in copied)
            lines.append(f"cd {quote(host)} && cp -a --parents {names} {quote(jail + '/')}")
            copied.clear()

    for action in actions:
        if action.kind in (Kind.COPY, Kind.TREE) and not action.text and not action.source:
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


def quote(text: str) -> str:
    """A word of a shell, on one line whatever is in it."""
    if text.isprintable():
        return shlex.quote(text)
    data = text.encode("utf-8", "surrogateescape")
    return "$'" + "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in data) + "'"


def _copy(action: Action, jail: str, host: str) -> list[str]:
    secret = [f"# {quote(action.path)} is a secret ({action.text}): only if the program must read it"] if action.text else []
    if not action.source:
        return [*secret, f"cd {quote(host)} && cp -a --parents {quote('.' + action.path)} {quote(jail + '/')}"]
    place = jail.rstrip("/") + action.path
    source = quote(host.rstrip("/") + action.source)
    return [*secret, f"mkdir -p {quote(place.rpartition('/')[0])} && cp -a {source} {quote(place)}"]


def _command(action: Action, jail: str, host: str) -> list[str]:
    place = quote(jail.rstrip("/") + action.path)
    text = quote(action.text)
    match action.kind:
        case Kind.COPY:
            return _copy(action, jail, host)
        case Kind.TREE:
            source = action.source or action.path
            left = [path.removeprefix(source) for path in action.text.split("\0") if path]
            without = "".join(f" --exclude={quote('.' + path)}" for path in left)
            # Names of files are no patterns.
            kept = f"--anchored --no-wildcards{without}" if left else ""
            return [f"mkdir -p {place} && cd {quote(host.rstrip('/') + source)} && tar -c {kept} . | tar -xp -C {place}"]
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
            return [f"ldconfig -r {quote(jail)}"]
        case Kind.MOUNT if jail.startswith("/proc/"):
            what = f"--bind {text}" if action.text.startswith("/") else f"-t {text} {text}"
            return [f"# in the mount namespace of process {jail.split('/')[2]}: mount {what} {quote(action.path)}"]
        case Kind.MOUNT if action.text.startswith("/"):
            return [f"mkdir -p {place}", f"mount --bind {text} {place}"]
        case Kind.MOUNT:
            return [f"mkdir -p {place}", f"mount -t {action.text} {action.text} {place}"]
        case _:
            return [f"# {line}" for line in action.text.splitlines()]
