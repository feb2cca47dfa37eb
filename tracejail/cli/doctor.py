"""The command `doctor`: its words."""

from __future__ import annotations

import json
import os

from tracejail.errors import UsageError

from .diagnosis import COMMANDS, cut, document, finding_document, print_lines, remedy, report
from .escape import escape
from .options import DOCTOR, DRIVE, JAIL, POLICY, TARGET, Fields, exactly, process_id, trial_options
from .progress import Talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tracejail.diagnose import Diagnosis
    from tracejail.doctor.finding import Finding
    from tracejail.model import TrialOptions

_LOG = 1 << 20       # bytes of a log that are read, its last
_COMPARE = {"auto": None, "always": True, "never": False}


def doctor(fields: Fields, arguments: list[str], talk: Talk) -> int:
    """Raises TracejailError."""
    if fields.get("self"):
        return _self(arguments)
    if "explain" in fields:
        return _explain(str(fields["explain"]), arguments)
    if "process" in fields:
        return _pid(fields, arguments, talk)
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

    return _tell(diagnose(options, talk, static, compare), options, talk, as_json)


# What can be said of a process that runs already; it has its jail, its user and all else.
_OF_RUNNING = frozenset(("process", "json", "static", "timeout", "exercises", "reload", "host_root"))


def _pid(fields: Fields, arguments: list[str], talk: Talk) -> int:
    process = process_id(fields, "--pid", arguments)
    given = next((row for row in (*JAIL, *DOCTOR, *TARGET, *DRIVE, *POLICY) if row.field in {*fields} - _OF_RUNNING), None)
    if given is not None:
        raise UsageError(f"--pid and {given.names[-1]}: the process runs already", f"leave out {given.names[-1]}")
    as_json, static = bool(fields.pop("json", False)), bool(fields.pop("static", False))
    if static and {"timeout", "exercises", "reload"} & {*fields}:
        raise UsageError("--pid and --static: it is not watched, and nothing is done to it", "leave out --static, or the rest")
    from tracejail.attend import SECONDS, attend

    fields.setdefault("timeout", SECONDS)
    diagnosis, root = attend(process, trial_options(fields, []), talk, static)
    options = trial_options({**fields, "jail": root}, list(diagnosis.facts.argv))
    return _tell(diagnosis, options, talk, as_json)


def _tell(diagnosis: Diagnosis, options: TrialOptions, talk: Talk, as_json: bool) -> int:
    talk.clear()
    if as_json:
        print(json.dumps(document(diagnosis, options)))
    elif talk.level >= 0:
        print_lines(report(diagnosis, options, talk.level > 0))
    return diagnosis.status


def _fix(options: TrialOptions, talk: Talk, as_json: bool, apply: bool, compare: bool | None) -> int:
    from tracejail.cure import cure

    done = cure(options, talk, apply, compare)
    talk.clear()
    after = done.after
    if as_json:
        told = {
            **document(after, options), "runs": done.runs, "seconds": round(done.seconds, 3), "applied": apply,
            "notes": list(done.notes), "causes": [finding_document(finding, options) for finding in done.applied],
        }
        print(json.dumps(told))
    elif talk.level >= 0:
        lines = _cured(done.before, after, done.applied, done.runs, options, talk.level > 0)
        lines += [f"note: {cut(note)}" for note in done.notes]
        if done.applied:
            count = len(done.done)
            some = "all of it was" if count == len(done.applied) else f"{count} of them, which are certain, were"
            lines.append(f"{some} done to the jail" if apply else "nothing of it was done to the jail: --apply does it")
        print_lines(lines)
    return after.status


def _cured(
    before: Diagnosis, after: Diagnosis, applied: tuple[Finding, ...], runs: int, options: TrialOptions, verbose: bool
) -> list[str]:
    if not applied:
        return report(before, options, verbose)
    lives = after.run is not None and after.run.healthy
    lines = [f"{'IT LIVES' if lives else 'IT STILL DIES'} after {runs} runs, with {len(applied)} cured:"]
    for number, finding in enumerate(applied, 1):
        lines.append(f"{number}. {cut(finding.message)}")
        plain = remedy(finding, options)
        lines += [f"     {escape(line)}" for line in (plain if verbose else plain[:COMMANDS])]
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
        print(cut(message.line))
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


