"""What refuses a call beside modes, owners, mounts and capabilities: inode flags, and security modules."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from tracejail.model import Want

from .consequence import weighed
from .facts import REFUSED, Call, Facts
from .finding import Action, Confidence, Finding, Kind

_FREE = ("", "unconfined", "kernel")     # labels of what no profile confines
_LETS = "(complain)"                     # a profile of AppArmor that only takes notes


def unchangeable(facts: Facts) -> Iterator[Finding]:
    """A file or directory that nobody may change, root neither: EPERM (chattr(1))."""
    found: dict[str, tuple[str, list[Call]]] = {}
    for call in facts.failed(*REFUSED):
        if not call.path or not _changes(call):
            continue
        for path in (call.path, posixpath.dirname(call.path.rstrip("/")) or "/"):
            has = facts.jail.inode_flags(path)
            if has:
                found.setdefault(path, (" and ".join(sorted(has)), []))[1].append(call)
                break
    for path, (what, calls) in found.items():
        _, quiet = weighed(facts, calls)
        yield Finding(
            "unchangeable", Confidence.CERTAIN, path, f"{path} is {what}: nobody may change it, root neither (lsattr(1))",
            (Action(Kind.CHANGEABLE, path),), tuple(calls), weight=25, quiet=quiet,
        )


def _changes(call: Call) -> bool:
    argument = call.record.arguments[-1]
    if call.opens:
        return bool(call.record.flags & (os.O_ACCMODE | os.O_CREAT))
    return argument.want in (Want.CREATE, Want.REMOVE) or call.name.startswith(("ch", "fch", "lch", "trunc", "ut"))


def confined(facts: Facts) -> Iterator[Finding]:
    """What a security module refuses to a program that it confines: its rules are about paths as they are outside."""
    found: dict[tuple[str, str], list[Call]] = {}
    for call in facts.failed(*REFUSED):
        label = call.state.label if call.state is not None else ""
        if label not in _FREE and not label.endswith(_LETS) and call.path:
            found.setdefault((label, call.record.program), []).append(call)
    for (label, program), calls in found.items():
        confidence, quiet = weighed(facts, calls)
        yield Finding(
            "confined", confidence, calls[-1].path,
            f"{calls[-1].path} is refused to {program}, which a security module confines ({label}): its rules name paths "
            "outside of the jail",
            (Action(Kind.ADVICE, calls[-1].path, text=f"let the rules of {label} allow the jail's paths; dmesg and the audit "
                    "log have the refusal"),),
            tuple(calls), evidence=(f"/proc/PID/attr/current: {label}",), quiet=quiet, general=True,
        )
