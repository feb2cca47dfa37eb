"""The run in the jail beside one of the same command with the whole host as its root: what fails there too is noise, what is
never asked for there is done after the cause, and what ended otherwise there is evidence. All of it needs both runs."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterator

from tracejail.model import EntryType

from .consequence import dies, mentioned
from .facts import Call, Facts, RunFacts
from .finding import Action, Confidence, Finding, Kind
from .listed import comparable, walked_through
from .remedies import bring_tree

_SETTINGS = "/etc/"     # what is listed beneath is configuration, and is read whole
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)   # differs from run to run: process IDs, times, addresses
_SHOWN = 3              # names of a list


def lives_outside(facts: Facts) -> bool:
    """Whether the same command does its work on the host."""
    return facts.outside is not None and facts.outside.healthy


def ends_alike(facts: Facts) -> bool:
    """Whether it dies on the host as it does in the jail, with the same words: the jail is not what it dies of."""
    run, other = facts.run, facts.outside
    if run is None or other is None or run.healthy or other.healthy:
        return False
    return run.words == other.words and bool(run.said.strip()) and _NUMBER.sub("#", run.said) == _NUMBER.sub("#", other.said)


def says_the_same(facts: Facts) -> bool:
    """Whether it does its work in both, and says the same: not less for all that it missed."""
    run, other = facts.run, facts.outside
    if run is None or other is None or not run.healthy or not other.healthy:
        return False
    return bool(run.said.strip()) and run.said == other.said


def went_well_outside(facts: Facts, path: str) -> bool:
    """Whether the host's run asked for a path and had it, of a program that lives there."""
    return lives_outside(facts) and facts.outside is not None and 0 in facts.outside.results.get(path, ())


def noise(facts: Facts, calls: Collection[Call]) -> bool:
    """Whether all of these calls fail in the same way on the host, where nothing comes of it."""
    return lives_outside(facts) and _fail_alike(facts, calls)


def _fail_alike(facts: Facts, calls: Collection[Call]) -> bool:
    results = facts.outside.results if facts.outside else {}
    return bool(calls) and all(call.failed and call.result in results.get(call.path, ()) for call in calls)


def beside_the_point(facts: Facts, calls: Collection[Call]) -> bool:
    """Whether they fail in the jail alone, of a program that dies on the host in the same way without that."""
    return ends_alike(facts) and not _fail_alike(facts, calls)


def aftermath(facts: Facts, path: str) -> bool:
    """Whether a program that dies in the jail asked for something that it never asks for where it lives: it did so because
    it had failed already."""
    if not path.startswith("/") or not dies(facts) or not lives_outside(facts):
        return False
    return path not in facts.asked_outside


def other_contents(facts: Facts) -> Iterator[Finding]:
    """A file that was read in both runs, and is not the same."""
    if not dies(facts) or not lives_outside(facts):
        return
    found: dict[str, Call] = {}
    for call in facts.calls():
        if not call.opens or call.failed or call.record.flags & (os.O_ACCMODE | os.O_DIRECTORY):
            continue
        if went_well_outside(facts, call.path) and _differs(facts, call.path):
            found.setdefault(call.path, call)
    for path, call in found.items():
        yield Finding(
            "other-contents", Confidence.LIKELY if mentioned(facts, (call,)) else Confidence.POSSIBLE, path,
            f"{path} is not what the host has there: {call.record.program} reads it, and dies in the jail alone",
            (Action(Kind.ADVICE, path, text=f"what of {path} the host has otherwise: diff tells it"),), (call,),
            weight=-20,
        )


def _differs(facts: Facts, path: str) -> bool:
    here, there = facts.jail.way(path).found, facts.host.way(path).found
    if here is None or there is None or here.foreign or there.foreign:
        return False
    if here.type is not EntryType.FILE or there.type is not EntryType.FILE or facts.jail.program(here.path).kind == "elf":
        return False
    return path != "/etc/ld.so.cache" and not facts.jail.same(path, facts.host)


def fewer_names(facts: Facts) -> Iterator[Finding]:
    """A directory that was listed in both runs, and has names on the host alone that are then used there."""
    if not lives_outside(facts) or facts.outside is None:
        return
    through = walked_through(facts)
    for (call, asked), here, there in comparable(facts):
        walked = (call.record.program, call.path) in through
        used = _used(facts, facts.outside, asked, there.path, here.path, walked)
        if not used or not facts.jail.names(here.path):
            continue
        paths = [posixpath.join(asked, name) for name in used]
        actions: dict[Action, None] = {}
        for path in paths:
            actions.update(dict.fromkeys(bring_tree(facts, path)))
        settings = f"{there.path}/".startswith(_SETTINGS)
        names = ", ".join(used[:_SHOWN]) + (", ..." if len(used) > _SHOWN else "")
        yield Finding(
            "fewer-names", Confidence.LIKELY if settings or dies(facts) else Confidence.POSSIBLE,
            paths[0] if len(paths) == 1 else here.path,
            f"{here.path} lacks {names}: {call.record.program} lists it, and on the host goes on to "
            f"use {'them' if len(used) > 1 else 'it'}", tuple(actions), (call,), quiet=not dies(facts),
        )


def _used(facts: Facts, outside: RunFacts, directory: str, there: str, here: str, walked: bool) -> list[str]:
    """The names that the jail lacks, and that were opened on the host, or looked at there: not where all of them were, as
    ls(1) does, or by who goes through a tree, as tar(1) does."""
    names = facts.host.names(there)
    looked_at = {name for name in names if 0 in outside.results.get(posixpath.join(directory, name), ())}
    if len(looked_at) == len(names):
        looked_at = set() if walked else {name for name in names if posixpath.join(directory, name) in outside.opened}
    return sorted(looked_at - set(facts.jail.names(here)))
