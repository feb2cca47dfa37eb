"""Directories that are empty, missing, or owned by the wrong user: no call fails of most of that."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator

from tracejail.model import EntryType, Want

from .compared import ends_alike
from .consequence import dies, fatal, helped_itself, mentioned, weighed
from .facts import GONE, REFUSED, Call, Facts, Node
from .finding import Action, Confidence, Finding, Kind
from .listed import comparable, walked_through
from .remedies import bring_tree, make_directory

_FOR_ALL = 0o1777
_ERRNO_WORDS = re.compile("no such file or directory|is a directory|not a directory|directory not empty")   # of any path
_READ = ("/etc/",)   # what is listed beneath is configuration, listed to be read; elsewhere a program may only look around
_STANDING = re.compile(r"owner|permission|writ(?:e|able)\b|\bmodes?\b|set-?[ug]id|insecure|unsafe", re.IGNORECASE)
# Programs name owners and modes in their ordinary output too.
_REFUSES = re.compile(
    r"bad|wrong|refus|insecure|unsafe|ignor|warn|too \w|should|must|world|invalid|error|fail|n[o']t\b|owned by", re.IGNORECASE
)
# What readers of such directories pass over: hidden names, what editors and packages leave, what only explains.
_PASSED_OVER = re.compile(r"\.|#|README|.*(?:~|\.(?:bak|orig|old|sample|example|disabled|(?:dpkg|ucf)-\w+))$", re.IGNORECASE)
_PATH = re.compile(r"/[\w.+/@-]*\w")
_ROOT = re.compile(r"\broot\b|chroot")   # where no path is named: the one that it has
_OTHERS_WRITE, _OTHERS, _SET_ID = 0o022, 0o077, 0o6000


def empty(facts: Facts) -> Iterator[Finding]:
    """A directory that was listed, and is empty where the host's is not."""
    through = walked_through(facts)
    for (call, asked), here, host in comparable(facts):
        if here.type is not EntryType.DIRECTORY or facts.jail.names(here.path) or not _read(facts, host.path):
            continue
        walked = (call.record.program, call.path) in through
        read = f"{host.path}/".startswith(_READ) and not walked
        yield Finding(
            "empty-directory", Confidence.LIKELY if read else Confidence.POSSIBLE, asked,
            f"{asked} is empty in the jail; {call.record.program} lists it, and on the host it has "
            f"{_count(_read(facts, host.path))}",
            bring_tree(facts, host.path), (call,), evidence=(here.standing,), weight=5, quiet=True,
        )


def _read(facts: Facts, directory: str) -> tuple[str, ...]:
    """The names that the host has there, and that a program may read."""
    return tuple(name for name in facts.host.names(directory) if not _PASSED_OVER.match(name))


def _count(names: tuple[str, ...]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"{len(names)} name{'s' if len(names) > 1 else ''} ({shown}{', ...' if len(names) > 3 else ''})"


def included(facts: Facts) -> Iterator[Finding]:
    """A directory that was to be listed, and is not there: what it would have brought is not missed by anybody."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        if call.path and call.record.flags & os.O_DIRECTORY:
            found.setdefault(call.path.rstrip("/") or "/", []).append(call)
    for path, calls in found.items():
        host = facts.host.way(path).found
        if host is None or host.type is not EntryType.DIRECTORY or host.foreign or facts.harmless(path):
            continue
        if facts.jail.way(path).found is not None or not _read(facts, host.path) or host.mode & 0o1000:
            continue
        if path in facts.search:
            continue  # looked through for what is to be executed
        # What is lost with it counts as well: the files that it would have held.
        beneath = [call for call in facts.failed(*GONE) if _leads_beneath(facts, call.path, path.rstrip("/") + "/")]
        confidence, quiet = weighed(facts, [*calls, *beneath])
        if f"{host.path}/".startswith("/etc/"):
            confidence = Confidence.LIKELY
        yield Finding(
            "include-directory", confidence, path,
            f"{path} is not in the jail; {calls[0].record.program} wants to list it, and on the host it has "
            f"{_count(_read(facts, host.path))}",
            bring_tree(facts, path), tuple(calls), weight=5, quiet=quiet,
            claims=tuple(call.order for call in beneath),
        )


def _leads_beneath(facts: Facts, path: str, start: str) -> bool:
    return path.startswith(start) or facts.jail.way(path).lead.startswith(start)


def for_all(facts: Facts) -> Iterator[Finding]:
    """A directory for the temporary files of all: missing, or not open to all."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE, *REFUSED):
        for path in (call.path, posixpath.dirname(call.path)) if call.path and call.path not in facts.left_over else ():
            host = facts.host.way(path).found
            if host is not None and host.type is EntryType.DIRECTORY and host.mode & _FOR_ALL == _FOR_ALL:
                found.setdefault(path, []).append(call)
                break
    for path, calls in found.items():
        here = facts.jail.way(path).found
        creates = [call for call in calls if call.record.arguments[-1].want is Want.CREATE]
        confidence, quiet = weighed(facts, calls)
        if creates and quiet:
            confidence = Confidence.LIKELY
        if here is None:
            yield Finding(
                "temporary", confidence, path, f"{path} is not in the jail: it is where all make their temporary files",
                make_directory(facts, path, mode=_FOR_ALL), tuple(calls), weight=25, quiet=quiet,
            )
        elif here.mode & _FOR_ALL != _FOR_ALL and any(call.result in REFUSED for call in calls):
            yield Finding(
                "temporary", confidence, path, f"{path} is not open to all (mode {here.mode:04o}): it is to have mode 1777",
                (Action(Kind.MODE, path, mode=_FOR_ALL),), tuple(calls), evidence=(here.standing,), weight=25, quiet=quiet,
            )


def wanted(facts: Facts) -> Iterator[Finding]:
    """A directory that the program says it must have, and that the host has not either."""
    said = facts.run.said.splitlines() if facts.run else []
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        gone = call.path and not call.executes and facts.jail.way(call.path).found is None
        if gone and call.path not in facts.left_over and not helped_itself(facts, call.path, call):
            found.setdefault(call.path, []).append(call)
    nameless = _last_look(facts, said)
    for path, calls in found.items():
        host = facts.host.way(path).found
        if any(call.record.arguments[-1].want is Want.CREATE for call in calls) or path == "/":
            continue
        if host is not None and host.type is not EntryType.DIRECTORY:
            continue
        if path == nameless or any(path in line and _of_directories(line) for line in said):
            yield Finding(
                "wanted-directory", Confidence.LIKELY, path,
                f"{path} is not in the jail, and the program wants a directory there",
                make_directory(facts, path), tuple(calls), weight=15, quiet=not dies(facts),
            )


def _of_directories(line: str) -> bool:
    return "director" in _ERRNO_WORDS.sub("", line.lower())


def _last_look(facts: Facts, said: list[str]) -> str:
    """What a program looked at in vain just before it ended, complaining of a directory whose name it did not say."""
    if not dies(facts) or ends_alike(facts) or not any(map(_of_directories, said)):
        return ""
    looks = [call for call in facts.failed(*GONE) if call.path and call.record.arguments[-1].want is Want.OBJECT]
    if not looks or looks[-1].opens or looks[-1].executes or not fatal(facts, looks[-1:]):
        return ""
    return looks[-1].path


def standings(facts: Facts) -> Iterator[Finding]:
    """Owners and modes that a program refuses by itself: it said of a path that they are wrong."""
    told: set[str] = set()
    denied = [call for call in facts.failed(*REFUSED) if call.path]
    for line in facts.run.said.splitlines() if facts.run else ():
        if not _STANDING.search(line.replace("Permission denied", "")) or not (dies(facts) or _REFUSES.search(line)):
            continue
        for path in _PATH.findall(line) or (["/"] if _ROOT.search(line) else []):
            way = facts.jail.way(path)
            if way.found is None or mentioned(facts, [call for call in denied if call.path == path]):
                continue
            for node in (*way.hops, way.found):
                actions = _better(facts, node, node.path == way.found.path)
                if not actions or node.path in told:
                    continue
                told.add(node.path)
                yield Finding(
                    "standing", Confidence.LIKELY, node.path,
                    f"the program refuses {path} for its owner or mode: {node.standing}", actions,
                    evidence=(line.strip()[:200], node.standing), weight=15, quiet=not dies(facts),
                )


def _better(facts: Facts, node: Node, last: bool) -> tuple[Action, ...]:
    if node.type is EntryType.SYMLINK or node.foreign:
        return ()
    host = facts.host.way(node.path).found
    actions: list[Action] = []
    if host is not None and host.type is node.type:
        # As the host has it is good enough for the program: it may lack a set-ID bit, too.
        if (host.uid, host.gid) != (node.uid, node.gid):
            actions.append(Action(Kind.OWNER, node.path, uid=host.uid, gid=host.gid))
        if host.mode != node.mode or (actions and host.mode & _SET_ID):
            actions.append(Action(Kind.MODE, node.path, mode=host.mode))
        return tuple(actions)
    if node.uid not in (0, facts.uid):
        actions.append(Action(Kind.OWNER, node.path))
    if node.mode & _OTHERS_WRITE and not node.mode & 0o1000:
        actions.append(Action(Kind.MODE, node.path, mode=node.mode & ~_OTHERS_WRITE))
    elif last and node.type is EntryType.FILE and node.mode & _OTHERS:
        actions.append(Action(Kind.MODE, node.path, mode=node.mode & ~_OTHERS))
    return tuple(actions)

