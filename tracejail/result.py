"""What a learn or verify came to, for `cli`: the exit status of the table, the reason, what to do."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace

from tracejail.learner import Learner
from tracejail.model import LearnResult, Manifest, PathNote, TrialOptions
from tracejail.resolve.policy import harmless
from tracejail.trial.ledger import Ledger
from tracejail.trial.outcome import Outcome, ended_words, exit_status
from tracejail.trial.supply import CLOSED

_TAIL = 20  # lines
_NAMED = 3  # addresses


def why_not(
    outcome: Outcome, ledger: Ledger, options: TrialOptions, unreachable: Collection[str]
) -> tuple[str, str]:
    """Why a run did not end as expected, and what to do about it."""
    denied = ledger.denied
    reason = outcome.failure or f"it {ended_words(outcome)}"
    if denied and "exercise" in outcome.failed_in:
        # What it asked for may have nothing to do with what a client did not get.
        path = sorted(denied)[0]
        hint = f"see its output below. The policy denied {path} ({denied[path].reason}): if that is it, --allow {path}"
        return reason, hint
    if denied:
        paths = sorted(denied)
        closed = [path for path in paths if denied[path].reason == CLOSED]
        if closed:
            return f"{reason}; {closed[0]}: {CLOSED}", "learn it as root, who may"
        return f"{reason}; the policy denied {paths[0]} ({denied[paths[0]].reason})", f"--allow {paths[0]} lets it in"
    if unreachable:
        return reason, f"it could not reach {next(iter(unreachable))} from its private network: --net host"
    if outcome.hint:
        return reason, outcome.hint
    relative = [word for word in options.argv[1:] if not word.startswith(("/", "-")) and os.path.exists(word)]
    if relative and options.directory == "/":
        return reason, f"it starts in /, where {relative[0]} is another path: give full paths, or --chdir DIR"
    if not outcome.failure:
        return reason, f"if that is right for this program, say --expect {_status(outcome)}"
    return reason, "see its output below, or call it with -v to see each miss"


def _status(outcome: Outcome) -> int:
    return exit_status(outcome.status) if outcome.status is not None else 0


def ended(outcome: Outcome) -> str:
    return outcome.failure or ended_words(outcome)


def tail(data: bytes) -> bytes:
    """The last lines."""
    return b"\n".join(data.splitlines()[-_TAIL:])


def result_of(
    work: Learner, outcome: Outcome, ledger: Ledger, manifest: Manifest, manifest_path: str, reason: str, hint: str,
    seconds: float, lines: tuple[str, ...],
) -> LearnResult:
    """The result for `cli`, with the exit status of the table."""
    status = 0
    if reason:
        status = 3 if outcome.timed_out else 4 if manifest.denied and not manifest.clean else 1
    shown = [note for note in manifest.absent if not harmless(note.path)]
    folded = tuple(note for note in manifest.absent if harmless(note.path))
    output = tail(outcome.errors) + (b"\n" if outcome.errors and outcome.output else b"") + tail(outcome.output)
    missing: tuple[PathNote, ...] = tuple(ledger.missing[path] for path in sorted(ledger.missing))
    return LearnResult(
        clean=manifest.clean,
        status=status,
        rounds=work.rounds,
        seconds=seconds,
        manifest=replace(manifest, absent=tuple(shown)),
        manifest_path=manifest_path,
        missing=missing if reason else (),
        harmless=folded,
        reason=reason,
        hint=hint,
        ended=f"{os.path.basename(work.program)} {ended_words(outcome)}",
        output=output if reason else b"",
        exercise_output=tail(outcome.failed_output),
        log=tail(outcome.log) if reason else b"",
        phase=(outcome.failed_in or outcome.ended_in or outcome.phase) if reason else "",
        misses=lines,
        notes=(*work.notes, *_unreachable(work)),
    )


def _unreachable(work: Learner) -> list[str]:
    addresses = list(work.unreachable)
    if not addresses:
        return []
    more = f" and {len(addresses) - _NAMED} more" if len(addresses) > _NAMED else ""
    return [f"a connect to {', '.join(addresses[:_NAMED])}{more} failed: the trial's network is private (--net host)"]
