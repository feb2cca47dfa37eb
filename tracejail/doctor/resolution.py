"""How the C library finds the address of a name (nsswitch.conf(5), resolv.conf(5), hosts(5)): one finding for all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .facts import GONE, Call, Facts
from .finding import Action, Confidence, Finding, Kind
from .remedies import bring

_RESOLV, _HOSTS = "/etc/resolv.conf", "/etc/hosts"
_FILES = (_RESOLV, _HOSTS, "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf")
_SERVICES = "/etc/nsswitch.conf"
_ANSWERS = frozenset(("files", "dns", "db", "compat"))   # that need nobody who runs beside the program
_NAME_SERVER = ":53"


def resolution(facts: Facts) -> Iterator[Finding]:
    """A name was to be resolved, and the files that say how are not in the jail, or are links that lead nowhere."""
    asked: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        if call.path in _FILES and facts.host.way(call.path).found is not None and facts.jail.way(call.path).found is None:
            asked.setdefault(call.path, []).append(call)
    if _RESOLV not in asked and _HOSTS not in asked:
        return
    first = asked.get(_RESOLV, asked.get(_HOSTS, []))[0].order
    # Without resolv.conf the resolver asks the machine itself, resolv.conf(5): a symptom.
    servers = [
        call for call in facts.calls() if call.order > first and call.record.address.endswith(_NAME_SERVER)
        and call.name in ("connect", "sendto", "sendmsg", "sendmmsg")
    ]
    local = {word for line in facts.host.start(_HOSTS).splitlines() for word in line.partition(b"#")[0].split()[1:]}
    by_hosts = _HOSTS in asked and any(word.encode("utf-8", "surrogateescape") in local for word in facts.argv)
    path = _RESOLV if _RESOLV in asked and not by_hosts and (servers or _HOSTS not in asked) else _HOSTS
    actions: dict[Action, None] = {}
    for name in asked:
        actions.update(dict.fromkeys(bring(facts, name)))
    calls = tuple(call for name in (path, *asked) for call in asked[name][:1])
    way = facts.jail.way(path)
    what = f"is a link that leads to {way.lead}, which the jail lacks" if facts.dangles(path, way) else "is not in the jail"
    others = [name for name in asked if name != path]
    also = f", nor {'is' if len(others) == 1 else 'are'} {', '.join(others)}" if others else ""
    run = facts.run
    dies = run is not None and not run.healthy
    yield Finding(
        "resolution", Confidence.LIKELY, path, f"{path} {what}{also}: names of hosts can't be resolved as on the host",
        tuple(actions), (*dict.fromkeys(calls), *servers[:1]), weight=10, quiet=not dies,
        claims=tuple(call.order for calls_of in asked.values() for call in calls_of),
    )


def services(facts: Facts) -> Iterator[Finding]:
    """nsswitch.conf of the jail sends a look-up to a service that can't answer here, and leaves out what the host asks."""
    run = facts.run
    if run is None or run.healthy or facts.jail.way(_SERVICES).found is None:
        return
    calls = tuple(call for call in run.calls if call.path == _SERVICES and not call.failed)[:1]
    here, there = _databases(facts.jail.start(_SERVICES)), _databases(facts.host.start(_SERVICES))
    for database, asked in here.items():
        left_out = [name for name in there.get(database, ()) if name in _ANSWERS and name not in asked]
        lost = [call for call in facts.failed(*GONE) if call.path and any(_of_service(name, call.path) for name in asked)]
        if calls and left_out and lost:
            yield Finding(
                "name-service", Confidence.LIKELY, _SERVICES,
                f"{_SERVICES} of the jail asks {', '.join(asked)} for {database}, which can't answer there; the host's asks "
                f"{', '.join(there[database])}",
                (Action(Kind.REMOVE, _SERVICES), Action(Kind.COPY, _SERVICES)), (*calls, *lost[:2]), weight=20,
                evidence=(f"{database}: {' '.join(asked)}",), claims=tuple(call.order for call in lost),
            )


def _of_service(name: str, path: str) -> bool:
    return name not in _ANSWERS and (f"libnss_{name}." in path or (path.startswith("/run/") and name in path))


def _databases(text: bytes) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        database, colon, rest = line.partition("#")[0].partition(":")
        if colon:
            found[database.strip()] = tuple(re.sub(r"\[[^]]*\]", " ", rest).split())
    return found
