"""How the C library finds the address of a name (nsswitch.conf(5), resolv.conf(5), hosts(5)): one finding for all of it."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import GONE, Call, Facts
from .finding import Action, Confidence, Finding
from .remedies import bring

_RESOLV, _HOSTS = "/etc/resolv.conf", "/etc/hosts"
_FILES = (_RESOLV, _HOSTS, "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf")
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
