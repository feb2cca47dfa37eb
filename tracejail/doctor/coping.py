"""Programs that could not be executed, and what their callers made of that. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .consequence import mentioned, weighed
from .facts import GONE, Call, Facts
from .finding import Confidence, Finding


def coped(facts: Facts, found: Iterable[Finding]) -> Iterator[Finding]:
    """Of a program that lives: what it coped with, or lacks on the host as well, is no more than possible."""
    for finding in found:
        lives = facts.run is not None and facts.run.healthy and finding.calls
        nowhere = finding.rule == "program" and not finding.actions and not mentioned(facts, finding.calls)
        if lives and (nowhere or all(_has_another_way(facts, finding.rule, call) for call in finding.calls)):
            yield replace(finding, confidence=Confidence.POSSIBLE, quiet=True)
        else:
            yield finding


def _has_another_way(facts: Facts, rule: str, call: Call) -> bool:
    """Whether the process that could not execute something had another way, and ended well."""
    status = next((end.status for end in facts.run.ends if end.process == call.record.process), 0) if facts.run else 0
    if status or rule == "empty-program":
        return False  # a shell that is tried for an empty file ends well, and has done nothing
    return rule == "no-program" or any(
        other.executes and not other.failed and other.record.process == call.record.process
        and other.order > call.order for other in facts.calls()
    )


def made_program(facts: Facts, call: Call) -> Iterator[Finding]:
    """What the program made itself and could not execute: it is gone with the run, and only the result tells."""
    if call.result not in GONE:
        return  # of a text without "#!", say, which its caller takes for a script
    confidence, quiet = weighed(facts, [call])
    yield Finding(
        "made-program", confidence, call.path,
        f"{call.path}, which was made in the run, can't be executed: the interpreter that it names is not in the jail", (),
        (call,), weight=20, quiet=quiet,
    )


def next_exec(facts: Facts, call: Call) -> int:
    """The order of the call by which the shell is tried for what is no program; 0 where that was not next."""
    for other in facts.calls():
        if other.order > call.order and other.record.process == call.record.process:
            return other.order if other.executes and other.path.endswith("/sh") else 0
    return 0


def came_through(facts: Facts, last: Call) -> bool:
    """Whether a search along PATH ended with a program."""
    name = os.path.basename(last.path)
    return any(
        call.executes and not call.failed and call.record.process == last.record.process
        and call.order > last.order and os.path.basename(call.path) == name
        for call in facts.calls()
    )
