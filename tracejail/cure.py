"""The use case `doctor --fix`: remedies applied to a copy of the jail in memory, one run after another, until the program
lives or nothing more is known; and to the jail itself where that is asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from tracejail.diagnose import Diagnosis, diagnose_root, open_jail, run_once_outside
from tracejail.doctor.finding import Action, Confidence, Finding, Kind
from tracejail.jail.tree import open_tree
from tracejail.mend import Mender
from tracejail.model import TrialOptions
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.show import Show
from tracejail.trial.overlays import Changes, changeable, changed, changes
from tracejail.trial.rootless import gain_powers
from tracejail.trial.target import find_identity

_MOST = 30         # runs
_NAMED = {"proc": "proc", "sysfs": "sys", "devpts": "devpts"}   # file systems, as --mount names them


@dataclass(frozen=True, slots=True)
class Cure:
    """What it came to: the diagnosis before, the last one, and what was applied between them, in that order."""

    before: Diagnosis
    after: Diagnosis
    applied: tuple[Finding, ...]
    done: tuple[Finding, ...]   # and to the jail itself
    runs: int
    seconds: float
    notes: tuple[str, ...]      # what could not be done


def cure(options: TrialOptions, show: Show, to_the_jail: bool, compare: bool | None = None) -> Cure:
    """Raises UsageError, KernelLacksError, InputOutputError, Interrupted."""
    began = time.monotonic()
    root = open_jail(options.jail)
    user = find_identity(open_host_root(options.host_root), options.user)
    gain_powers(user.uid, user.gid, options.network == "private", show.say)
    notes: dict[str, None] = {}
    outside = run_once_outside(options, show)
    with changes(root.fd) as made:
        before = after = diagnose_root(options, show, root, outside, compare=compare)
        applied: list[Finding] = []
        runs = 1
        while runs < _MOST and (now := _next(after, applied)):
            show.status(f"run {runs + 1}: {len(applied) + len(now)} remedies applied")
            options = _apply_in_memory(options, root, made, now, notes)
            applied += now
            with changed(root.fd, made) as shown:
                after = diagnose_root(options, show, HostRoot(root.path, shown), outside, made.layer, compare=compare)
            runs += 1
    # Of what does not bring it to life only what is certain: the rest would be left in the jail for nothing.
    lives = after.run is not None and after.run.healthy
    done = tuple(each for each in applied if lives or each.confidence is Confidence.CERTAIN) if to_the_jail else ()
    if done:
        mender = Mender(open_host_root(options.host_root), open_tree(root.fd, options.jail), options)
        for finding in done:
            mender.mend(finding.actions)
        notes.update(mender.notes)
    return Cure(before, after, tuple(applied), done, runs, time.monotonic() - began, tuple(notes))


def _next(diagnosis: Diagnosis, applied: list[Finding]) -> list[Finding]:
    """What is to be applied before the next run: all that is certain, and the likeliest; of a program that runs all that it
    lacks."""
    done = {(finding.rule, finding.path) for finding in applied}
    new = [
        finding for finding in diagnosis.findings
        if (finding.rule, finding.path) not in done and any(action.kind is not Kind.ADVICE for action in finding.actions)
    ]
    dies = diagnosis.run is None or not diagnosis.run.healthy
    if dies:
        loud = [finding for finding in new if not finding.quiet]
        sure = [finding for finding in loud if finding.confidence is Confidence.CERTAIN]
        return sure or loud[:1]
    return [finding for finding in new if finding.confidence is not Confidence.POSSIBLE]


def _apply_in_memory(
    options: TrialOptions, root: HostRoot, made: Changes, now: list[Finding], notes: dict[str, None]
) -> TrialOptions:
    actions = [action for finding in now for action in finding.actions]
    with changeable(root.fd, made) as tree:
        mender = Mender(open_host_root(options.host_root), open_tree(tree, "the jail: ", in_memory=True), options)
        mender.mend(actions)
        notes.update(mender.notes)
    return replace(options, mounts=tuple(dict.fromkeys((*options.mounts, *_mounts(actions)))))


def _mounts(actions: list[Action]) -> list[str]:
    return [_NAMED[action.text] for action in actions if action.kind is Kind.MOUNT and action.text in _NAMED and not action.root]
