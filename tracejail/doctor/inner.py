"""A program that makes a directory its root by itself (chroot(2)): what it does then is judged as a run in a jail of its own,
whose root lies in this one. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import replace

from tracejail.model import EntryType, Want

from .consequence import dies, lost_later, matters, mentioned
from .facts import GONE, Call, Ended, Facts, RunFacts, Tree
from .finding import Action, Confidence, Finding, Kind

_WITH_ROOT_OF_ITS_OWN = frozenset(("openat2",))   # RESOLVE_IN_ROOT is about one call
_MOST = 8                                         # roots that are looked at


def roots(facts: Facts) -> tuple[str, ...]:
    """The directories of the jail that its processes took for their root."""
    found = dict.fromkeys(_taken(call) if call.name == "chroot" else _root(call) for call in facts.calls())
    return tuple(root for root in found if root.startswith("/") and root != "/" and facts.jail.node(root) is not None)[:_MOST]


def _root(call: Call) -> str:
    if not call.record.arguments or call.name in _WITH_ROOT_OF_ITS_OWN:
        return "/"
    return call.record.arguments[-1].root


def _taken(call: Call) -> str:
    """The root that a call of chroot(2) gives."""
    return posixpath.normpath(call.path) if not call.failed and call.path else "/"


def around(facts: Facts) -> Facts:
    """Without the calls that were made in a root within the jail."""
    if facts.run is None:
        return facts
    return replace(facts, run=replace(facts.run, calls=tuple(call for call in facts.run.calls if _root(call) == "/")))


def inside(facts: Facts, root: str) -> Facts:
    """What is known of a root within the jail, paths as seen from there."""
    assert facts.run is not None
    run, start = facts.run, root + "/"
    own = {call.record.process for call in run.calls if _root(call) == root}
    calls = tuple(
        _moved(call, root) for call in run.calls
        if _root(call) == root or (not call.record.arguments and call.record.process in own)
    )
    ends = tuple(Ended(end.process, _from(end.program, root), end.status) for end in run.ends if end.process in own)
    mounts = tuple(
        replace(mount, path=_from(mount.path, root))
        for mount in facts.mounts if f"{mount.path}/".startswith(start)
    )
    tree: Tree = facts.jail.beneath(root)
    around = facts.mount_of(root)
    if around is not None and around.path != root:
        mounts = (replace(around, path="/"), *mounts)
    return replace(facts, jail=tree, run=_with(run, calls, ends), outside=None, mounts=mounts, programs=())


def _with(run: RunFacts, calls: tuple[Call, ...], ends: tuple[Ended, ...]) -> RunFacts:
    return replace(run, calls=calls, ends=ends)


def _moved(call: Call, root: str) -> Call:
    record = replace(call.record, program=_from(call.record.program, root))
    return replace(call, record=record, path=_from(call.path, root) if call.path else "")


def _from(path: str, root: str) -> str:
    """As seen from there; what lies elsewhere stays what it is."""
    if path == root:
        return "/"
    return path[len(root) :] if path.startswith(root + "/") else path


def outside_only(facts: Facts) -> Iterator[Finding]:
    """What the jail has and a root within it lacks, and the host has not either: the program's own configuration, say."""
    found: dict[tuple[str, str], list[Call]] = {}
    for call in facts.failed(*GONE):
        root = _root(call)
        if root == "/" or not call.path or call.executes or not call.path.startswith(root + "/"):
            continue
        if call.record.arguments[-1].want in (Want.OBJECT, Want.LIST):
            found.setdefault((root, _from(call.path, root)), []).append(call)
    for (root, path), calls in found.items():
        here = facts.jail.way(path).found
        if here is None or here.foreign or here.type not in (EntryType.FILE, EntryType.DIRECTORY):
            continue
        if facts.jail.beneath(root).way(path).found is not None or facts.host.way(path).found is not None:
            continue
        kind = Kind.TREE if here.type is EntryType.DIRECTORY else Kind.COPY
        seen = [replace(call, path=path) for call in calls]
        quiet = not (dies(facts) or mentioned(facts, seen) or lost_later(facts, seen))
        yield Finding(
            "outside-only", Confidence.POSSIBLE if quiet else Confidence.LIKELY, root + path,
            f"{calls[0].record.program} has made {root} its root, and looks there for {path}, which is outside of it alone",
            (Action(kind, here.path, root=root, of_jail=True),), tuple(calls), quiet=quiet, weight=10, inner=path,
        )


def placed(facts: Facts, found: Finding, root: str) -> Iterator[Finding]:
    """A finding about a root within the jail, as one about the jail. `facts` are those of the jail."""
    orders = {call.order for call in found.calls}
    calls = tuple(call for call in facts.calls() if call.order in orders)
    if found.calls and not any(_root(call) == root for call in calls):
        return  # the same is found for the jail
    who = next((call.record.program for call in calls if call.record.program), facts.program)
    path = root + found.path.rstrip("/") if found.path.startswith("/") else found.path
    # What it is poorer for it may be poorer for everywhere: a root of its own is often empty on purpose.
    before = [replace(call, path=_from(call.path, root)) for call in calls if call.failed]
    loud = matters(facts, before) if found.general else not found.quiet
    meant = loud or found.confidence is Confidence.CERTAIN or facts.host.way(path).found is not None or lost_later(facts, before)
    yield replace(
        found,
        confidence=found.confidence if meant else Confidence.POSSIBLE,
        quiet=not loud,
        path=path,
        message=f"{who} has made {root} its root, and there {found.message}",
        actions=tuple(replace(action, root=root) for action in found.actions),
        calls=calls,
        inner=found.path,
    )
