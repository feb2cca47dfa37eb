"""What doctor came to, as a screen for an admin and as a document for a program."""

from __future__ import annotations

import json
import os
import shlex
import sys

from .escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tracejail.diagnose import Diagnosis
    from tracejail.doctor.facts import Call
    from tracejail.doctor.finding import Finding
    from tracejail.model import TrialOptions

_MOST = 3            # findings that are shown without -v
_EVIDENCE = 5        # lines
_LONGEST = 300       # characters of a line; a command is shown whole or not at all
_BYTES = 48 << 10    # of all that is printed, whatever the target does
_NOTES = 8           # lines
_LAST_CALLS = 8      # of one that dies for no known reason
COMMANDS = 4         # lines of a remedy


def print_lines(lines: list[str]) -> None:
    """As many as can be told."""
    left = _BYTES
    for number, line in enumerate(lines):
        left -= len(line.encode("utf-8", "backslashreplace")) + 1
        if left < 0:
            print(f"and {len(lines) - number} lines more, which are too much to print")
            return
        print(line)


def cut(text: str) -> str:
    """Escaped, and as long as a line may be."""
    return escape(text[:_LONGEST])[:_LONGEST]


def remedy(finding: Finding, options: TrialOptions) -> list[str]:
    """Its commands."""
    from tracejail.doctor.remedies import commands

    return commands(finding.actions, os.path.abspath(options.jail), os.path.abspath(options.host_root))


def again() -> str:
    """The command that does the remedies: that of now, and one word more."""
    return shlex.join(("tracejail", "doctor", "--apply", *(word for word in sys.argv[2:] if word not in ("--fix", "--apply"))))


def _can_be_done(finding: Finding) -> bool:
    from tracejail.doctor.finding import Confidence, Kind

    words = (Kind.ADVICE, Kind.MOUNT, Kind.CHANGEABLE)
    return finding.confidence is not Confidence.POSSIBLE and any(action.kind not in words for action in finding.actions)


def evidence(finding: Finding) -> list[str]:
    """The lines of a finding, the calls first, as truss(1) has them."""
    return [*map(call_line, finding.calls[:_EVIDENCE]), *finding.evidence][:_EVIDENCE]


def call_line(call: Call) -> str:
    """One call on one line."""
    from tracejail.trace.truss import told

    times = f"  ({call.count} times)" if call.count > 1 else ""
    who = f"{call.record.program}: " if call.record.program else ""
    state = f"  uid {call.state.uid}" if call.state is not None and call.state.uid else ""
    return f"{who}{told(call.record)}{state}{times}"


def report(diagnosis: Diagnosis, options: TrialOptions, verbose: bool) -> list[str]:
    """A screen for a tired admin: what happens, the cause, what cures it."""
    run, found = diagnosis.run, diagnosis.findings
    lines = [cut(_verdict(diagnosis)), *_outside(diagnosis)]
    if run is not None and run.clipped:
        lines.append("it made more different calls than are kept: what came late was not looked at")
    for number, finding in enumerate(found if verbose else found[:_MOST], 1):
        lines += ["", f"{number}. {finding.confidence.value.upper()}: {cut(finding.message)}"]
        lines += [f"     {cut(line)}" for line in evidence(finding)]
        plain = remedy(finding, options)
        shown = plain if verbose else plain[:COMMANDS]
        lines += [f"   {'cure:' if not index else '     '}  {escape(line)}" for index, line in enumerate(shown)]
        if len(plain) > len(shown):
            lines.append(f"          and {len(plain) - len(shown)} commands more: -v")
    if len(found) > _MOST and not verbose:
        lines += ["", "what else might be wrong (-v says more):"]
        lines += [f"  {finding.confidence.value}: {cut(finding.message)}" for finding in found[_MOST : _MOST + 5]]
        if len(found) > _MOST + 5:
            lines.append(f"  and {len(found) - _MOST - 5} more")
    if diagnosis.facts.argv and diagnosis.facts.held is None and any(map(_can_be_done, found)):
        lines += ["", f"tracejail does it, and looks again: {escape(again())}"]
    if diagnosis.status == 3 and run is not None:
        last = [call for call in run.calls if call.failed][-_LAST_CALLS:]
        lines += ["", "no cause is known. Its last calls that failed:", *(f"     {cut(call_line(call))}" for call in last)]
    if run is not None and not run.healthy and run.said.strip():
        lines += ["", "it said:", *(f"  {cut(line)}" for line in run.said.strip().splitlines()[-5:])]
    if diagnosis.ruled_out and (verbose or diagnosis.status == 3):
        lines += ["", "ruled out:", *(f"  {line}" for line in diagnosis.ruled_out)]
    if diagnosis.notes:
        lines += ["", *(f"note: {cut(note)}" for note in diagnosis.notes[:_NOTES])]
    return lines


def _verdict(diagnosis: Diagnosis) -> str:
    run, facts = diagnosis.run, diagnosis.facts
    if run is None:
        what = "not run" if facts.program or not facts.argv else "it can't be run"
        return f"{what}: {_count(len(diagnosis.findings))}"
    if not run.healthy:
        what = "IT RUNS, BUT" if facts.held is not None and run.failure else "IT DIES"
        return f"{what}: {run.failure or 'it ' + run.words}"
    serves = f", listens on {', '.join(run.listens[:3])}" if run.listens else ""
    if diagnosis.status:
        return f"IT RUNS, BUT: it {run.words}{serves}"
    if facts.held is not None:
        how = "HEALTHY, AS FAR AS IT WAS HEARD" if run.listened else "HEALTHY, AS FAR AS IT SHOWS"
        return f"{how}: it {run.words}{serves}"
    return f"HEALTHY: it {run.words}{serves}; nothing that the host has is missed"


def _outside(diagnosis: Diagnosis) -> list[str]:
    from tracejail.doctor.compared import ends_alike

    other = diagnosis.facts.outside
    if other is None:
        return []
    if ends_alike(diagnosis.facts):
        return ["on the host it dies as well, with the same words"]
    return [cut(f"on the host it {'dies too: ' * (not other.healthy)}{other.failure or other.words}")]


def _count(number: int) -> str:
    return "nothing is wrong with its files" if not number else "1 finding" if number == 1 else f"{number} findings"


def document(diagnosis: Diagnosis, options: TrialOptions) -> dict[str, Any]:
    """For a program; the findings as many as can be told, `more` counts the others."""
    run, other = diagnosis.run, diagnosis.facts.outside
    told: list[dict[str, Any]] = []
    left = _BYTES
    for finding in diagnosis.findings:
        told.append(finding_document(finding, options))
        left -= len(json.dumps(told[-1]))
        if left < 0:
            told.pop()
            break
    return {
        "status": diagnosis.status,
        "healthy": diagnosis.status == 0,
        "runs": int(run is not None),
        "seconds": round(diagnosis.seconds, 3),
        "program": diagnosis.facts.program,
        "ended": run.words if run else "",
        "failure": run.failure[:_LONGEST] if run else "",
        "compared": {"healthy": other.healthy, "ended": other.words} if other else None,
        "clipped": bool(run and run.clipped),
        "findings": told,
        "more": len(diagnosis.findings) - len(told),
        "ruled_out": list(diagnosis.ruled_out),
        "notes": [note[:_LONGEST] for note in diagnosis.notes[:_NOTES]],
        "output": [line[:_LONGEST] for line in run.said.splitlines()[-20:]] if run else [],
    }


def finding_document(finding: Finding, options: TrialOptions) -> dict[str, Any]:
    """For a program."""
    return {
        "rule": finding.rule,
        "confidence": finding.confidence.value,
        "quiet": finding.quiet,
        "path": finding.path,
        "message": finding.message[:_LONGEST],
        "evidence": [line[:_LONGEST] for line in evidence(finding)],
        "remedy": remedy(finding, options),
    }
