"""What the jail lacks and the host has, where no other rule knows more of it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import replace

from tracejail.model import EntryType, Want

from .compared import ends_alike, went_well_outside
from .consequence import complains, dies, helped_itself, mentioned, stands_in, weighed
from .facts import GONE, Call, Facts, Node
from .finding import Action, Confidence, Finding, Kind
from .remedies import bring, bring_tree, make_directory

_HELPER = 10   # what can be executed is looked for to be executed
_INDEXES = frozenset(("/etc/ld.so.cache",))   # what is in no index is looked for: a library that is lost has a rule
# What is read by a library on the way, and what is poorer without it though nothing says so: (beginning of the path, what,
# whether a program may die of it). The first that is so counts.
_POORER = (
    ("/etc/localtime", "times are told in UTC", False),
    ("/usr/share/zoneinfo", "times of that zone are told in UTC", True),
    ("/etc/ssl/certs", "no certificate can be verified", True),
    ("/usr/lib/ssl/cert.pem", "no certificate can be verified", True),
    ("/usr/lib/ssl/certs", "no certificate can be verified", True),
    ("/etc/ssl/cert.pem", "no certificate can be verified", True),
    ("/etc/pki", "no certificate can be verified", True),
    ("/usr/lib/ssl/openssl.cnf", "the host's rules for TLS (least version, engines) do not hold", False),
    ("/etc/ssl/openssl.cnf", "the host's rules for TLS (least version, engines) do not hold", False),
    ("/usr/lib/locale", "it speaks, sorts and counts characters as in the C locale", False),
    ("/etc/protocols", "protocols have no names", True),
    ("/etc/services", "ports have no names", True),
    ("/etc/mime.types", "types of files are not known", True),
    ("/etc/passwd", "users have no names", True),
    ("/etc/group", "groups have no names", True),
)
_NAMES = ("/etc/passwd", "/etc/group")
_NUMBER = re.compile(r"(?<![\w.:])\d+(?![\w.:])")   # that stands by itself, as one does for an owner without a name
_ZONES = ("/etc/localtime", "/usr/share/zoneinfo")
_OF_UTC = b"\nUTC0\n"    # the end of a file of tzfile(5)


def _poorer(facts: Facts, path: str) -> tuple[str, bool]:
    """What is poorer without it, "" for nothing; and whether a program may die of its want."""
    what, fatal = next(((what, fatal) for start, what, fatal in _POORER if f"{path}/".startswith(start + "/")), ("", True))
    if path.startswith(_ZONES) and facts.host.start(path).endswith(_OF_UTC):
        return "", fatal  # nothing is lost
    if path.startswith("/usr/lib/locale/") and not (facts.run and "locale" in facts.run.said):
        return "", fatal  # nearly every program looks for one, and most say nothing in it
    if path in _NAMES and facts.run and facts.run.healthy and not _NUMBER.search(facts.run.said):
        return "", fatal  # a shell asks who it is, and tells nobody
    return what, fatal


def absent(facts: Facts) -> Iterator[Finding]:
    """A path that is not in the jail, and is on the host."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        argument = call.record.arguments[-1] if call.record.arguments else None
        if argument is None or argument.want not in (Want.OBJECT, Want.LIST) or call.executes:
            continue
        found.setdefault(call.path.rstrip("/") or "/", []).append(call)
    together: dict[str, Finding] = {}
    for path, calls in found.items():
        way = facts.host.way(path)
        if way.found is None or way.found.type is EntryType.SOCKET or any(hop.foreign for hop in way.hops):
            continue
        poorer, may_be_fatal = _poorer(facts, path)
        # What is harmless elsewhere may be what this program dies of: where the host's run has it, and lives.
        suspect = dies(facts) and went_well_outside(facts, path)
        harmless = facts.harmless(path) and not poorer
        if path in _INDEXES or path in facts.left_over or path in facts.search or (harmless and not suspect):
            continue
        here = facts.jail.way(path)
        if here.found is not None:
            continue  # the program made it itself, later
        listed = way.found.type is EntryType.DIRECTORY
        actions = bring_tree(facts, path) if listed else bring(facts, path)
        if facts.dangles(path, here):
            message = f"{path} is a link that leads to {here.lead}, which the jail lacks"
            stop, rule = here.lead, "dangling-link"
        else:
            message, stop, rule = f"{path} is not in the jail, and the host has it", path, "absent"
        matters = not helped_itself(facts, path, calls[-1]) and ((dies(facts) and may_be_fatal) or mentioned(facts, calls))
        # It found a file not and did not say which: one of configuration, rather than what it looks for by the way.
        unnamed = way.found.type is EntryType.FILE and path.startswith("/etc/") and complains(facts)
        finding = Finding(
            rule, Confidence.LIKELY if (matters or poorer or unnamed) and not harmless else Confidence.POSSIBLE, stop,
            f"{message}: {poorer}" if poorer else message, actions, tuple(calls), quiet=not matters, general=True,
            weight=_HELPER if way.found.type is EntryType.FILE and way.found.mode & 0o111 else 0,
        )
        if not poorer:
            yield finding
        elif poorer not in together:
            together[poorer] = finding
        else:
            together[poorer] = _with(together[poorer], finding)
    yield from together.values()


def _with(one: Finding, other: Finding) -> Finding:
    """Two files of the same consequence are one cause."""
    actions = tuple(dict.fromkeys((*one.actions, *other.actions)))
    return replace(one, actions=actions, calls=(*one.calls, *other.calls), quiet=one.quiet and other.quiet)


def astray(facts: Facts) -> Iterator[Finding]:
    """A way that ends at a link which leads to itself, or at what is no directory."""
    found: dict[tuple[str, str], list[Call]] = {}
    for call in facts.failed(-errno.ELOOP, -errno.ENOTDIR):
        if not call.path or call.executes:
            continue
        way = facts.jail.way(call.path)
        if way.why in ("loop", "not-a-directory"):
            found.setdefault((way.why, way.stop), []).append(call)
    for (why, stop), calls in found.items():
        host = facts.host.way(stop).found
        here = facts.jail.node(stop)
        if why == "not-a-directory" and (host is None or host.type is not EntryType.DIRECTORY):
            continue  # it is none on the host either
        bad = here is not None and (why == "loop" or here.type is EntryType.FILE)
        whole = (Action(Kind.REMOVE, stop), *_in_its_place(facts, host, calls[0].path)) if bad and host is not None else ()
        what = "is a link that leads to itself" if why == "loop" else "is no directory in the jail; on the host it is one"
        confidence, quiet = weighed(facts, calls)
        yield Finding(
            "link-loop" if why == "loop" else "not-a-directory", Confidence.CERTAIN if not quiet else confidence, stop,
            f"{stop}, on the way to {calls[0].path}, {what}", whole, tuple(calls), weight=20, quiet=quiet,
            evidence=(here.standing,) if here is not None else (),
        )


def _in_its_place(facts: Facts, host: Node, wanted: str) -> tuple[Action, ...]:
    made = (Action(Kind.DIRECTORY, host.path, mode=host.mode, uid=host.uid, gid=host.gid),)
    beneath = facts.host.way(wanted).found
    return made if beneath is None or beneath.type is EntryType.DIRECTORY else (*made, *bring(facts, beneath.path))


def nowhere(facts: Facts) -> Iterator[Finding]:
    """A path that neither the jail nor the host has, and that the program names where it complains: the site's own."""
    if facts.run is None or not dies(facts) or ends_alike(facts):
        return
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        if not call.path or call.executes or call.path in facts.left_over:
            continue
        if call.record.arguments[-1].want in (Want.OBJECT, Want.LIST) and stands_in(call.path, facts.run.complaints):
            found.setdefault(call.path, []).append(call)
    for path, calls in found.items():
        if facts.jail.way(path).found is not None or facts.host.way(path).found is not None or facts.harmless(path):
            continue
        yield Finding(
            "nowhere", Confidence.LIKELY, path,
            f"{path} is not in the jail, and the host has it not either: {calls[0].record.program} complains of it",
            (Action(Kind.ADVICE, path, text=f"put {path} into the jail, or configure it not to ask for it"),), tuple(calls),
            general=True,
        )


def parent(facts: Facts) -> Iterator[Finding]:
    """Something is to be made in a directory that is not there."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        argument = call.record.arguments[-1] if call.record.arguments else None
        if argument is None or argument.want is not Want.CREATE:
            continue
        directory = os.path.dirname(call.path.rstrip("/")) or "/"
        if facts.jail.way(directory).found is None and not helped_itself(facts, directory, call):
            found.setdefault(directory, []).append(call)
    for directory, calls in found.items():
        first = next((above for above in _from_top(directory) if facts.jail.way(above).found is None), directory)
        made = calls[0].path
        # Where the host lacks it too, the program has another place for it, or does without.
        matters = dies(facts) or mentioned(facts, calls)
        missed = matters or facts.host.way(directory).found is not None
        yield Finding(
            "parent", Confidence.LIKELY if missed else Confidence.POSSIBLE, directory,
            f"{directory} is not in the jail, and {calls[0].record.program} wants to make {os.path.basename(made)} in it",
            make_directory(facts, directory, uid=facts.uid, gid=facts.gid), tuple(calls), weight=10, general=True,
            quiet=not matters, evidence=(f"{first}: not there",) if first != directory else (),
        )


def _from_top(path: str) -> Iterator[str]:
    above = ""
    for part in path.strip("/").split("/"):
        above += "/" + part
        yield above
