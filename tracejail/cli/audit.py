"""The command `audit`: its words, and what it prints."""

from __future__ import annotations

import json

from tracejail.errors import UsageError

from .diagnosis import cut
from .escape import escape
from .options import Fields, exactly
from .progress import Talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tracejail.appraise import Appraisal, AuditOptions
    from tracejail.audit.weakness import Weakness
    from tracejail.winnow import Winnowed

_SHOWN = 20        # findings that are shown whole without -v
_MOST = 400        # with it
_EVIDENCE = 4      # lines of one
_OTHERS = 10       # rules of which the rest is counted


def audit(fields: Fields, arguments: list[str], talk: Talk) -> int:
    """Raises TracejailError."""
    exactly(arguments, 1, "DIR or MANIFEST")
    as_json, as_sarif = bool(fields.pop("json", False)), bool(fields.pop("sarif", False))
    if as_json and as_sarif:
        raise UsageError("audit: --json and --sarif", "leave out one of them")
    remove, dry = bool(fields.pop("remove", False)), bool(fields.pop("dry", False))
    if dry and not remove:
        raise UsageError("audit: -n is about --remove", "leave it out: without --remove nothing is changed")
    pairs = fields.pop("environment", ())
    assert isinstance(pairs, tuple)
    if pairs and not remove:
        raise UsageError("audit: -E is about --remove", "leave it out: without --remove nothing is run")
    options = _options(fields, arguments[0])
    from tracejail.appraise import appraise

    done = appraise(options)
    gone: Winnowed | None = None
    if remove:
        from tracejail.winnow import winnow

        gone = winnow(done.facts, (*_of_unit(done, talk), *_pairs(pairs)), dry, talk)
        if gone.removed:
            done = appraise(options)
    talk.clear()
    if as_json:
        print(json.dumps(_document(done, options, gone)))
    elif as_sarif:
        from .sarif import sarif

        print(json.dumps(sarif(done)))
    elif talk.level >= 0:
        print("\n".join([*_told(gone), *_report(done, options, talk.level > 0)]))
    return 1 if gone is not None and not gone.clean else done.status


def _options(fields: Fields, target: str) -> AuditOptions:
    from tracejail.appraise import AuditOptions

    threshold = fields.get("threshold", 0.0)
    assert isinstance(threshold, float)
    if not threshold.is_integer():
        raise UsageError(f"--threshold {threshold}: not a whole number", "a score is one: see tracejail audit --help")
    words = {key: str(fields.get(key, "")) for key in ("manifest", "user", "host_root", "advisories", "release")}
    if words["release"] and not words["advisories"]:
        raise UsageError("audit: --release is about --advisories", "leave it out, or name the file of advisories")
    ignored = fields.get("ignored", ())
    assert isinstance(ignored, tuple)
    return AuditOptions(target, threshold=int(threshold), ignored=ignored, **words)


def _of_unit(done: Appraisal, talk: Talk) -> tuple[tuple[str, str], ...]:
    """The environment of the unit that the manifest was learned from."""
    if done.facts.manifest is None or not done.facts.manifest.command.service.unit:
        return ()
    from .unit import environment_of_unit

    manifest = done.facts.manifest
    return environment_of_unit(manifest.command.service.unit, manifest.host.root, manifest.command.user, talk)


def _pairs(words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for word in words:
        name, given, value = word.partition("=")
        if not given or not name:
            raise UsageError(f"-E {word}: not K=V", "give NAME=VALUE")
        pairs.append((name, value))
    return tuple(pairs)


def _told(gone: Winnowed | None) -> list[str]:
    if gone is None:
        return []
    if not gone.paths:
        return ["all that is in the jail is in the manifest: there is nothing to remove", ""]
    if not gone.clean:
        return [cut(f"NOTHING WAS REMOVED: without it the program does not run clean: {gone.reason}"), cut(gone.hint), ""]
    what = "was removed" if gone.removed else "would be removed"
    lines = [f"{len(gone.paths)} things that no run needed: the program runs clean without; each {what}"]
    lines += [f"  {cut(path)}" for path in gone.paths[:_SHOWN]]
    lines += [f"  and {len(gone.paths) - _SHOWN} more"] if len(gone.paths) > _SHOWN else []
    return [*lines, *(f"note: {cut(note)}" for note in gone.notes), ""]


def _report(done: Appraisal, options: AuditOptions, verbose: bool) -> list[str]:
    from tracejail.audit.weakness import Severity

    counted = [each for each in done.found if each.severity is not Severity.INFO]
    notes = [each for each in done.found if each.severity is Severity.INFO]
    lines = [_verdict(done, counted, options)]
    shown = counted[: _MOST if verbose else _SHOWN]
    for number, each in enumerate(shown, 1):
        lines += ["", *_finding(number, each)]
    rest = counted[len(shown) :]
    if rest:
        lines += ["", f"and {len(rest)} more{'' if verbose else ' (-v shows them)'}:", *_counted(rest)]
    if notes:
        lines += ["", *(f"note: {cut(each.message)}: {cut(each.reason)}" for each in notes[:_OTHERS])]
    return lines


def _verdict(done: Appraisal, counted: list[Weakness], options: AuditOptions) -> str:
    jail = cut(done.facts.jail)
    if not counted:
        facts = done.facts
        if facts.clipped or any(item.contents.unread for item in facts.files):   # and it was told to ignore that
            return f"nothing found in what was looked at of {jail} ({len(facts.items)} objects), which is not all: score 0"
        return f"NOTHING FOUND in {jail} ({len(done.facts.items)} objects): score 0"
    by_severity = dict.fromkeys(each.severity.word for each in counted)
    counts = ", ".join(
        f"{sum(each.severity.word == word for each in counted)} {word}" for word in by_severity
    )
    allowed = "" if not options.threshold else f", {'above' if done.status else 'within'} the threshold of {options.threshold}"
    return f"score {done.score}{allowed}: {counts} in {jail} ({len(done.facts.items)} objects)"


def _finding(number: int, each: Weakness) -> list[str]:
    lines = [f"{number}. {each.severity.name}: {cut(each.message)}   [{each.rule}]", f"     {cut(each.reason)}"]
    lines += [f"     {cut(line)}" for line in each.evidence[:_EVIDENCE]]
    lines += [f"   {'remedy:' if not index else '       '}  {escape(line)}" for index, line in enumerate(each.remedy)]
    return lines


def _counted(rest: list[Weakness]) -> list[str]:
    counts: dict[tuple[str, str], list[str]] = {}
    for each in rest:
        counts.setdefault((each.severity.word, each.rule), []).append(each.path)
    return [
        f"  {len(paths):>4} {severity} {rule}: {cut(', '.join(paths[:2]))}{', ...' if len(paths) > 2 else ''}"
        for (severity, rule), paths in counts.items()
    ]


def _document(done: Appraisal, options: AuditOptions, gone: Winnowed | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "status": done.status,
        "score": done.score,
        "threshold": options.threshold,
        "jail": done.facts.jail,
        "manifest": done.facts.manifest_path,
        "objects": len(done.facts.items),
        "seconds": round(done.seconds, 3),
        "findings": [
            {
                "rule": each.rule,
                "severity": each.severity.word,
                "weight": each.severity.value,
                "path": each.path,
                "outside": each.outside,
                "message": each.message,
                "reason": each.reason,
                "evidence": list(each.evidence),
                "remedy": list(each.remedy),
            }
            for each in done.found
        ],
    }
    if gone is not None:
        document["removal"] = {
            "clean": gone.clean, "removed": gone.removed, "paths": list(gone.paths), "reason": gone.reason, "hint": gone.hint,
            "notes": list(gone.notes),
        }
        document["status"] = 1 if not gone.clean else done.status
    return document
