"""The commands `status` and `update`: their words."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from tracejail.drift.nouns import Drift, Kind, Upgrade
from tracejail.errors import TracejailError, UsageError
from tracejail.status import Hosts, Report, Wanted, manifests_in
from tracejail.status import status as look

from .escape import escape
from .hooks import hook
from .options import PROVES, Fields, need, trial_options
from .progress import Talk

TYPE_CHECKING = False  # mypy takes it for true; status has no time to import what only update needs
if TYPE_CHECKING:
    from tracejail.model import LearnResult, Manifest
    from tracejail.update import Prove, Updated

_PLACE = "/var/lib/tracejail"   # of manifests, for --all
_MOST = 20                      # lines of one kind, without -v


def status(fields: Fields, arguments: list[str]) -> int:
    """Raises UsageError."""
    paths = _paths(fields, arguments)
    quiet, verbose = bool(fields.get("quiet")), bool(fields.get("verbose"))
    wanted = Wanted(
        str(fields.get("jail", "")), str(fields.get("host_root", "")), str(fields.get("label", "")), bool(fields.get("full")),
    )
    reports = []
    for report in look(paths, wanted):
        reports.append(report)
        if not fields.get("json") and not quiet:
            _print(_report(report, verbose))
    worst = max((report.status for report in reports), default=0)
    if fields.get("json"):
        print(json.dumps({"status": worst, "jails": [_of_report(report) for report in reports]}))
    return worst


def update(fields: Fields, arguments: list[str], talk: Talk) -> int:
    """Raises TracejailError where one manifest is named; of several the others are done all the same."""
    if "hook" in fields:
        print(hook(str(fields["hook"])), end="")
        return 0
    rollback = bool(fields.get("rollback"))
    if rollback and fields.get("verify"):
        raise UsageError("update: --rollback and --verify", "leave out one of them; tracejail verify shows how it stands then")
    from tracejail.rollback import roll_back
    from tracejail.update import Updated, Wish
    from tracejail.update import update as bring_over

    paths = _paths(fields, arguments)
    hosts = Hosts()
    done = []
    for path in paths:
        talk.status(f"{path}: is brought over")
        wish = Wish(
            str(fields.get("jail", "")), str(fields.get("host_root", "")), bool(fields.get("full")), bool(fields.get("force")),
            bool(fields.get("dry")), _proof(path, fields, talk) if fields.get("verify") else None,
        )
        try:
            one = roll_back(path, wish) if rollback else bring_over(path, wish, hosts)
        except TracejailError as error:
            if len(paths) == 1 and not fields.get("json"):
                raise
            one = Updated(path, error=error.message, hint=error.hint, status=error.status)
        done.append(one)
        talk.clear()
        if not fields.get("json") and talk.level >= 0:
            _print(_updated(one, wish.dry, talk.level > 0))
    worst = max((one.status for one in done), default=0)
    if fields.get("json"):
        print(json.dumps({"status": worst, "dry": bool(fields.get("dry")), "jails": [_of_update(one) for one in done]}))
    return worst


def _paths(fields: Fields, arguments: list[str]) -> list[str]:
    if fields.get("every"):
        if arguments:
            raise UsageError(f"{arguments[0]}: --all names the manifests already", "leave out one of them")
        if not os.path.isdir(_PLACE):
            raise UsageError(f"{_PLACE}: No such file or directory", "--all is for the manifests there; or name a manifest")
        arguments = [_PLACE]
    need(arguments, 1, "MANIFEST")
    paths = list(dict.fromkeys(manifests_in(arguments)))
    if len(paths) > 1 and fields.get("jail"):
        raise UsageError(f"-j {fields['jail']}: there are {len(paths)} manifests", "each of them knows its own jail")
    return paths


def _proof(path: str, fields: Fields, talk: Talk) -> Prove:
    def prove(manifest: Manifest, jail: str) -> LearnResult:
        from tracejail.verify import verify

        from .again import options_again

        given = {key: value for key, value in fields.items() if key in PROVES or (key == "host_root" and value)}
        options = trial_options({**given, "jail": jail}, [], options_again(manifest, path, fields, talk))
        return verify(manifest, options, talk)

    return prove


# --- to people --------------------------------------------------------------------------------------------------------


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(escape(line), flush=True)


def _report(report: Report, verbose: bool) -> list[str]:
    if report.error:
        return [f"{report.manifest}: {report.error}", f"  {report.hint}"]
    if not report.rows:
        lines = [f"{report.jail}: current, {report.entries} entries"]
    else:
        counts = Counter(row.kind for row in report.rows)
        lines = [f"{report.jail}: {', '.join(f'{count} {kind.value}' for kind, count in counts.items())}"]
        lines += _packages(report.packages)
        lines += _rows(report.rows, verbose)
    if report.beside:
        some = report.beside if verbose else report.beside[:3]
        more = f" and {len(report.beside) - len(some)} more" if len(some) < len(report.beside) else ""
        lines.append(f"  beside its manifest: {', '.join(some)}{more}")
    kinds = {row.kind for row in report.rows}
    if kinds - {Kind.TAMPERED, Kind.SHAPE, Kind.DENIED}:
        lines.append(f"  to bring it over:    tracejail update {report.manifest}")
    if Kind.TAMPERED in kinds:
        lines.append(f"  changed in the jail: stays so, but with tracejail update --force {report.manifest}")
    if kinds & {Kind.SHAPE, Kind.DENIED}:
        lines.append("  what is of another shape, or denied, no update brings over: learn it again")
    return lines


def _packages(packages: Iterable[Upgrade]) -> list[str]:
    return [
        f"  {each.package} {each.version or '(none)'} -> {each.now}, {each.files} {'file' if each.files == 1 else 'files'}"
        for each in packages
    ]


def _rows(rows: Sequence[Drift], verbose: bool) -> list[str]:
    lines, left = [], Counter(row.kind for row in rows)
    shown: Counter[Kind] = Counter()
    for row in sorted(rows, key=lambda row: (list(Kind).index(row.kind), row.path)):
        if not verbose and (row.kind is Kind.VERSION or shown[row.kind] >= _MOST):
            continue
        shown[row.kind] += 1
        left[row.kind] -= 1
        lines.append(f"  {row.kind.value:<15} {row.path}{_words(row)}")
    hidden = sum(left.values())
    return [*lines, f"  and {hidden} more: -v shows them"] if hidden else lines


def _words(row: Drift) -> str:
    words = [row.detail] if row.detail else []
    if row.package and row.now and row.now != row.version:
        words.append(f"{row.package} {row.version or '(none)'} -> {row.now}")
    return f"    {', '.join(words)}" if words else ""


def _updated(one: Updated, dry: bool, verbose: bool) -> list[str]:
    if one.error:
        return [f"{one.manifest}: {one.error}", f"  {one.hint}"]
    lines = [f"{one.jail}: an update that had been killed was finished"] if one.finished else []
    if one.proof is not None and one.proof.status:
        lines.append(f"{one.jail}: nothing was changed, as it would not be clean: {one.proof.reason}")
        lines += [f"  missing: {note.path}" for note in one.proof.missing[:_MOST]]
        return [*lines, f"  {one.proof.hint}" if one.proof.hint else "  tracejail verify shows why"]
    if any(row.kind is Kind.INTERRUPTED for row in one.kept):
        return [*lines, *(f"{one.jail}: {row.kind.value}: {row.detail}" for row in one.kept)]
    counts = Counter(each.action for each in one.done)
    would = "would be " if dry else ""
    if counts:
        what = ", ".join(f"{count} {_DONE[action.value]}" for action, count in counts.items())
        proven = ", proven in a copy before" if one.proof is not None else ""
        lines.append(f"{one.jail}: {would}{what}{proven}")
    elif one.renewed:
        files = "none of its files was changed" if one.kept else "its files are current"
        lines.append(f"{one.jail}: {files}; the manifest {would or 'was '}brought over")
    else:
        lines.append(f"{one.jail}: {'nothing else to bring over' if one.kept else 'current'}, {one.entries} entries")
    lines += _packages(one.packages)
    if dry or verbose:
        lines += [f"  {each.action.value:<8} {each.path}" for each in one.done]
    lines += [f"  KEPT            {row.path}: {row.kind.value}{_words(row)}" for row in one.kept]
    if any(row.kind is Kind.TAMPERED for row in one.kept):
        lines.append(f"  what was changed in the jail goes with --force {one.manifest}")
    for each in one.restart:
        some = ", ".join(each.paths[:3]) + (f" and {len(each.paths) - 3} more" if len(each.paths) > 3 else "")
        lines.append(f"  RESTART         process {each.process} ({each.name}) still has the old {some}")
    return lines


_DONE = {"add": "added", "replace": "replaced", "set": "given other attributes", "remove": "removed"}


# --- to programs ------------------------------------------------------------------------------------------------------


def _plain(row: Drift) -> dict[str, str]:
    return {**asdict(row), "kind": row.kind.value}


def _of_report(report: Report) -> dict[str, object]:
    return {
        "manifest": report.manifest, "jail": report.jail, "from": report.host_root, "status": report.status,
        "entries": report.entries, "seconds": round(report.seconds, 3), "drift": [_plain(row) for row in report.rows],
        "packages": [asdict(each) for each in report.packages], "beside": list(report.beside), "error": report.error,
        "hint": report.hint,
    }


def _of_update(one: Updated) -> dict[str, object]:
    return {
        "manifest": one.manifest, "jail": one.jail, "status": one.status, "entries": one.entries,
        "seconds": round(one.seconds, 3), "finished": one.finished, "renewed": one.renewed,
        "done": [{**asdict(each), "action": each.action.value} for each in one.done],
        "kept": [_plain(row) for row in one.kept], "packages": [asdict(each) for each in one.packages],
        "restart": [asdict(each) for each in one.restart], "verified": one.proof.clean if one.proof is not None else None,
        "reason": one.proof.reason if one.proof is not None else "", "error": one.error, "hint": one.hint,
    }
