"""The command `doctor`: its words, and what it prints."""

from __future__ import annotations

import json
import os

from tracejail.errors import UsageError

from .escape import escape
from .options import Fields, exactly, trial_options
from .progress import Talk

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
_LAST_CALLS = 8      # of one that dies for no known reason
_LOG = 1 << 20       # bytes of a log that are read, its last
_COMPARE = {"auto": None, "always": True, "never": False}
_COMMANDS = 4        # lines of a remedy


def doctor(fields: Fields, arguments: list[str], talk: Talk) -> int:
    """Raises TracejailError."""
    if fields.get("self"):
        return _self(arguments)
    if "explain" in fields:
        return _explain(str(fields["explain"]), arguments)
    as_json, static = bool(fields.pop("json", False)), bool(fields.pop("static", False))
    if not fields.get("jail"):
        raise UsageError("doctor: no jail is named", "tracejail doctor -j DIR PROGRAM [ARGUMENT...]")
    if not arguments and not static:
        raise UsageError("doctor: no program is named", "name it after the options; or --static: all of the jail")
    apply = bool(fields.pop("apply", False))
    fix = bool(fields.pop("fix", False)) or apply
    if fix and (static or not arguments):
        raise UsageError("doctor: --fix runs the program again and again", "name the program, and leave out --static")
    compare = _COMPARE[str(fields.pop("compare", "auto"))]
    options = trial_options(fields, arguments)
    if fix:
        return _fix(options, talk, as_json, apply, compare)
    from tracejail.diagnose import diagnose

    diagnosis = diagnose(options, talk, static, compare)
    talk.clear()
    if as_json:
        print(json.dumps(document(diagnosis, options)))
    elif talk.level >= 0:
        _print(report(diagnosis, options, talk.level > 0))
    return diagnosis.status


def _print(lines: list[str]) -> None:
    left = _BYTES
    for number, line in enumerate(lines):
        left -= len(line.encode("utf-8", "backslashreplace")) + 1
        if left < 0:
            print(f"and {len(lines) - number} lines more, which are too much to print")
            return
        print(line)


def _cut(text: str) -> str:
    """Escaped, and as long as a line may be."""
    return escape(text[:_LONGEST])[:_LONGEST]


def _commands(finding: Finding, options: TrialOptions) -> list[str]:
    from tracejail.doctor.remedies import commands

    return commands(finding.actions, os.path.abspath(options.jail), os.path.abspath(options.host_root))


def _fix(options: TrialOptions, talk: Talk, as_json: bool, apply: bool, compare: bool | None) -> int:
    from tracejail.cure import cure

    done = cure(options, talk, apply, compare)
    talk.clear()
    after = done.after
    if as_json:
        told = {
            **document(after, options), "runs": done.runs, "seconds": round(done.seconds, 3), "applied": apply,
            "notes": list(done.notes), "causes": [_finding(finding, options) for finding in done.applied],
        }
        print(json.dumps(told))
    elif talk.level >= 0:
        lines = _cured(done.before, after, done.applied, done.runs, options, talk.level > 0)
        lines += [f"note: {_cut(note)}" for note in done.notes]
        if done.applied:
            lines.append("all of it was done to the jail" if apply else "nothing of it was done to the jail: --apply does it")
        _print(lines)
    return after.status


def _cured(
    before: Diagnosis, after: Diagnosis, applied: tuple[Finding, ...], runs: int, options: TrialOptions, verbose: bool
) -> list[str]:
    if not applied:
        return report(before, options, verbose)
    lives = after.run is not None and after.run.healthy
    lines = [f"{'IT LIVES' if lives else 'IT STILL DIES'} after {runs} runs, with {len(applied)} cured:"]
    for number, finding in enumerate(applied, 1):
        lines.append(f"{number}. {_cut(finding.message)}")
        plain = _commands(finding, options)
        lines += [f"     {escape(line)}" for line in (plain if verbose else plain[:_COMMANDS])]
    if not lives:
        lines += ["", *report(after, options, verbose)]
    return lines


def _explain(text: str, arguments: list[str]) -> int:
    exactly(arguments, 0, "--explain TEXT, in quotes, or a file")
    from tracejail.doctor.messages import explain

    if os.path.isfile(text):
        with open(text, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LOG))
            text = stream.read(_LOG).decode("utf-8", "surrogateescape")
    found = list(explain(text))
    for message in found:
        print(_cut(message.line))
        print(f"  may mean: {escape(message.means)}")
        print(f"  decided by: {message.decides}")
    if not found:
        print("no message in it is known; tracejail doctor -j DIR PROGRAM looks at the jail itself")
        return 3
    print("to know: tracejail doctor -j DIR PROGRAM")
    return 1


def _self(arguments: list[str]) -> int:
    exactly(arguments, 0, "no words")
    from tracejail.engines import checks

    rows = checks()
    taken = next((row.name for row in rows if not row.lacks), "")
    for row in rows:
        state = f"not to be had here: {row.lacks}" if row.lacks else "taken by --engine auto" if row.name == taken else "there"
        print(escape(f"{row.name:<8} {state}; {row.about}"))
    return 0 if taken else 6


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
    lines = [_cut(_verdict(diagnosis))]
    lines += _outside(diagnosis)
    if run is not None and run.clipped:
        lines.append("it made more different calls than are kept: what came late was not looked at")
    for number, finding in enumerate(found if verbose else found[:_MOST], 1):
        lines += ["", f"{number}. {finding.confidence.value.upper()}: {_cut(finding.message)}"]
        lines += [f"     {_cut(line)}" for line in evidence(finding)]
        plain = _commands(finding, options)
        shown = plain if verbose else plain[:_COMMANDS]
        lines += [f"   {'cure:' if not index else '     '}  {escape(line)}" for index, line in enumerate(shown)]
        if len(plain) > len(shown):
            lines.append(f"          and {len(plain) - len(shown)} commands more: -v")
    if len(found) > _MOST and not verbose:
        lines += ["", "what else might be wrong (-v says more):"]
        lines += [f"  {finding.confidence.value}: {_cut(finding.message)}" for finding in found[_MOST : _MOST + 5]]
        if len(found) > _MOST + 5:
            lines.append(f"  and {len(found) - _MOST - 5} more")
    if diagnosis.status == 3 and run is not None:
        last = [call for call in run.calls if call.failed][-_LAST_CALLS:]
        lines += ["", "no cause is known. Its last calls that failed:", *(f"     {_cut(call_line(call))}" for call in last)]
    if run is not None and not run.healthy and run.said.strip():
        lines += ["", "it said:", *(f"  {_cut(line)}" for line in run.said.strip().splitlines()[-5:])]
    if diagnosis.ruled_out and (verbose or diagnosis.status == 3):
        lines += ["", "ruled out:", *(f"  {line}" for line in diagnosis.ruled_out)]
    return lines


def _verdict(diagnosis: Diagnosis) -> str:
    run, facts = diagnosis.run, diagnosis.facts
    if run is None:
        what = "not run" if facts.program or not facts.argv else "it can't be run"
        return f"{what}: {_count(len(diagnosis.findings))}"
    if not run.healthy:
        return f"IT DIES: {run.failure or 'it ' + run.words}"
    serves = f", listens on {', '.join(run.listens[:3])}" if run.listens else ""
    if diagnosis.status:
        return f"IT RUNS, BUT: it {run.words}{serves}"
    return f"HEALTHY: it {run.words}{serves}; nothing that the host has is missed"


def _outside(diagnosis: Diagnosis) -> list[str]:
    from tracejail.doctor.compared import ends_alike

    other = diagnosis.facts.outside
    if other is None:
        return []
    if ends_alike(diagnosis.facts):
        return ["on the host it dies as well, with the same words"]
    if other.healthy:
        return [_cut(f"on the host it {other.words}")]
    return [_cut(f"on the host it dies too: {other.failure or 'it ' + other.words}")]


def _count(number: int) -> str:
    return "nothing is wrong with its files" if not number else "1 finding" if number == 1 else f"{number} findings"


def document(diagnosis: Diagnosis, options: TrialOptions) -> dict[str, Any]:
    """For a program; the findings as many as can be told, `more` counts the others."""
    run, other = diagnosis.run, diagnosis.facts.outside
    told: list[dict[str, Any]] = []
    left = _BYTES
    for finding in diagnosis.findings:
        told.append(_finding(finding, options))
        left -= len(json.dumps(told[-1]))
        if left < 0:
            told.pop()
            break
    return {
        "status": diagnosis.status,
        "healthy": diagnosis.status == 0,
        "runs": diagnosis.runs,
        "seconds": round(diagnosis.seconds, 3),
        "program": diagnosis.facts.program,
        "ended": run.words if run else "",
        "failure": run.failure[:_LONGEST] if run else "",
        "compared": {"healthy": other.healthy, "ended": other.words} if other else None,
        "clipped": bool(run and run.clipped),
        "findings": told,
        "more": len(diagnosis.findings) - len(told),
        "ruled_out": list(diagnosis.ruled_out),
        "output": [line[:_LONGEST] for line in run.said.splitlines()[-20:]] if run else [],
    }


def _finding(finding: Finding, options: TrialOptions) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "confidence": finding.confidence.value,
        "quiet": finding.quiet,
        "path": finding.path,
        "message": finding.message[:_LONGEST],
        "evidence": [line[:_LONGEST] for line in evidence(finding)],
        "remedy": _commands(finding, options),
    }
