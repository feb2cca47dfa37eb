"""What audit found as SARIF 2.1.0 (OASIS), which CI servers show beside the code."""

from __future__ import annotations

import hashlib
import os
from urllib.parse import quote

from tracejail import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tracejail.appraise import Appraisal
    from tracejail.audit.weakness import Weakness

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# Readers want a line of each, though it is the file as a whole that is told of.
_REGION = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "info": "0.0"}   # as GitHub's security-severity


def sarif(done: Appraisal) -> dict[str, Any]:
    """A log with one run; a note that does not count is of kind "informational"."""
    from tracejail.audit.rules import ABOUT

    used = sorted({each.rule for each in done.found})
    worst = {rule: next(each for each in done.found if each.rule == rule) for rule in used}
    rules = [
        {
            "id": rule,
            "name": "".join(word.capitalize() for word in rule.split("-")) + "InJail",
            "shortDescription": {"text": ABOUT[rule]},
            "fullDescription": {"text": f"{ABOUT[rule]}: {_text(worst[rule].reason)}."},
            "defaultConfiguration": {"level": _LEVELS[worst[rule].severity.word]},
            "properties": {"security-severity": _SCORES[worst[rule].severity.word], "tags": ["security"]},
        }
        for rule in used
    ]
    run: dict[str, Any] = {
        "tool": {"driver": {
            "name": "tracejail", "version": __version__, "semanticVersion": __version__,
            "informationUri": "https://pypi.org/project/tracejail/", "rules": rules,
        }},
        "originalUriBaseIds": {"JAIL": {"uri": f"{_uri(done.facts.jail)}/"}},
        "results": [_result(each, used.index(each.rule)) for each in done.found],
        "properties": {"score": done.score},
        "columnKind": "unicodeCodePoints",
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(each: Weakness, index: int) -> dict[str, Any]:
    counts = each.severity.value > 0
    lines = [f"{each.message}: {each.reason}.", *each.evidence, *(f"remedy: {line}" for line in each.remedy)]
    place: dict[str, Any] = {"uri": _uri(each.path)} if each.outside else {
        "uri": quote(os.fsencode(each.path.lstrip("/") or ".")), "uriBaseId": "JAIL",
    }
    mark = hashlib.sha256(os.fsencode(f"{each.rule}\0{each.path}\0{each.message}")).hexdigest()
    return {
        "ruleId": each.rule,
        "ruleIndex": index,
        "kind": "fail" if counts else "informational",
        "level": _LEVELS[each.severity.word] if counts else "none",
        "message": {"text": _text("\n".join(lines))},
        "locations": [{"physicalLocation": {"artifactLocation": place, "region": _REGION}}],
        "partialFingerprints": {"tracejail/v1": mark},
        "properties": {"severity": each.severity.word, "weight": each.severity.value},
    }


def _uri(path: str) -> str:
    return f"file://{quote(os.fsencode(path))}"


def _text(text: str) -> str:
    """Without bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
