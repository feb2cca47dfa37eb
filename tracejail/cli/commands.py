"""The subcommands as rows, and what each does with its words. Use cases are imported when they are called."""

from __future__ import annotations

import os
import sys

from tracejail.errors import RunError, UsageError

from . import manifests
from .escape import escape
from .options import (
    ATTACH,
    AUDIT,
    DOCTOR,
    DRIVE,
    ENGINE,
    EVERY,
    EXPORT,
    FROM,
    HANDMADE,
    HOST,
    JAIL,
    JSON,
    LEARN,
    NUL,
    OUTPUT,
    POLICY,
    PROVES,
    REPLACE,
    RUN,
    RUNS,
    SECTION,
    SELF,
    TARGET,
    UPDATE,
    UPKEEP,
    VERBOSE,
    Fields,
    Option,
    exactly,
    help_lines,
    need,
    parse,
    process_id,
    trial_options,
)
from .progress import Talk

TYPE_CHECKING = False  # mypy takes it for true; --help has no time to import what only annotations need
if TYPE_CHECKING:
    from collections.abc import Callable

    from tracejail.model import LearnResult, TrialOptions


class Subcommand:
    """A subcommand: its words for the usage line, what it is for, its options, and what it does."""

    __slots__ = ("usage", "about", "options", "run", "more")

    def __init__(
        self, usage: str, about: str, options: tuple[Option, ...], run: Callable[[Fields, list[str]], int], more: str = ""
    ) -> None:
        self.usage = usage
        self.about = about
        self.options = options
        self.run = run
        self.more = more


def dispatch(words: list[str]) -> int:
    """Raises TracejailError."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if words else 2
    name, rest = words[0], words[1:]
    subcommand = SUBCOMMANDS.get(name)
    if subcommand is None:
        kind = "option" if name.startswith("-") else "command"
        raise UsageError(f"no {kind} {name}", "tracejail --help shows the commands")
    if rest[:1] in (["-h"], ["--help"]):
        print(f"usage: tracejail {name} {subcommand.usage}\n\n{subcommand.about}\n")
        print("\n".join([*help_lines(subcommand.options), *(("", subcommand.more) if subcommand.more else ())]))
        return 0
    try:
        fields, arguments = parse(rest, subcommand.options, name)
    except UsageError as error:
        if name == "run":   # 2 may be the program's own status
            raise RunError(error.message, error.hint) from None
        raise
    if name not in _TAKES_PROGRAM:
        # Options may come after the words too, as no program's own are among them.
        words_only = []
        while arguments:
            words_only.append(arguments.pop(0))
            more, arguments = parse(arguments, subcommand.options, name)
            for key, value in more.items():
                before = fields.get(key)
                both = isinstance(before, tuple) and isinstance(value, tuple)
                fields[key] = (*before, *value) if both else value  # type: ignore[misc]
        arguments = words_only
    return subcommand.run(fields, arguments)


def _overview() -> str:
    about = "Learn what a program needs, and build the jail that holds just that."
    lines = ["usage: tracejail COMMAND [OPTION...] ...", "", about, ""]
    lines += [f"  {name:<8} {row.about}" for name, row in SUBCOMMANDS.items()]
    lines += ["", "tracejail COMMAND --help says more; tracejail --version."]
    return "\n".join(lines)


def _talk(fields: Fields) -> Talk:
    level = -1 if fields.pop("quiet", False) else 1 if fields.pop("verbose", False) else 0
    fields.pop("verbose", None)
    return Talk(level, sys.stderr.isatty())


def _finish(result: LearnResult, as_json: bool, talk: Talk, learned: bool) -> int:
    talk.clear()
    if as_json:
        from .document import as_json as document

        print(document(result))
    elif talk.level >= 0:
        from .report import summary

        print(summary(result, learned, talk.level > 0))
    return result.status


def _learn(fields: Fields, arguments: list[str]) -> int:
    as_json = bool(fields.pop("json", False))
    talk = _talk(fields)
    if "process" in fields:
        return _attach(fields, arguments, as_json, talk)
    unit = str(fields.pop("unit", ""))
    if not unit:
        need(arguments, 1, "PROGRAM [ARGUMENT...]")
    elif arguments:
        raise UsageError(f"{arguments[0]}: --unit names the program already", f"change it: systemctl edit {unit}; or no --unit")
    base = None
    if unit:
        from .unit import options_of_unit

        base = options_of_unit(unit, fields, talk)
    driven = as_json or fields.get("exercises") or fields.get("stdin")
    fields["interactive"] = os.isatty(0) and os.isatty(1) and not driven
    options = trial_options(fields, arguments, base)
    from tracejail.learn import learn

    return _finish(learn(options, talk), as_json, talk, learned=True)


# What a process that runs already can't be told any more, and what there is no trial for.
_NOT_ATTACHED = (*DRIVE, *ENGINE, *(row for row in (*TARGET, *LEARN) if row.field in (
    "unit", "user", "directory", "environment", "stdin", "network", "mounts", "listing", "restart", "max_rounds"
)))


def _attach(fields: Fields, arguments: list[str], as_json: bool, talk: Talk) -> int:
    process = process_id(fields, "--attach", arguments)
    for option in _NOT_ATTACHED:
        if option.field in fields:
            raise UsageError(f"--attach and {option.names[-1]}: the process runs already", f"leave out {option.names[-1]}")
    fields.setdefault("timeout", 0.0)
    root = str(fields.pop("host_root", ""))
    from tracejail.attach import attach

    return _finish(attach(process, root, trial_options(fields, []), talk), as_json, talk, learned=True)


def _verify(fields: Fields, arguments: list[str]) -> int:
    as_json = bool(fields.pop("json", False))
    talk = _talk(fields)
    exactly(arguments, 1, "MANIFEST")
    manifest = manifests.read(arguments[0], fields)
    from .again import options_again

    base = options_again(manifest, arguments[0], fields, talk)
    from tracejail.verify import verify

    return _finish(verify(manifest, trial_options(fields, [], base), talk), as_json, talk, learned=False)


def _status(fields: Fields, arguments: list[str]) -> int:
    from .upkeep import status

    return status(fields, arguments)


def _update(fields: Fields, arguments: list[str]) -> int:
    from .upkeep import update

    talk = _talk(fields)
    return update(fields, arguments, talk)


def _deps(fields: Fields, arguments: list[str]) -> int:
    need(arguments, 1, "FILE...")
    from tracejail.deps import deps

    rows = deps(str(fields.get("host_root") or "/"), arguments)
    if fields.get("json"):
        import json

        print(json.dumps([row._asdict() for row in rows]))
    else:
        for row in rows:
            by = f", needed by {row.needed_by}" if row.needed_by else ""
            lost = "" if row.found else "    NOT FOUND"
            print(escape(f"{row.path}    {row.how}{by}{lost}"))
    return 0 if all(row.found for row in rows) else 1


def _trace(fields: Fields, arguments: list[str]) -> int:
    need(arguments, 1, "PROGRAM [ARGUMENT...]")
    every, misses, jail = bool(fields.pop("every", False)), bool(fields.pop("misses", False)), str(fields.pop("jail", ""))
    if every and misses:
        raise UsageError("trace: --all and --misses", "leave out one of them")
    talk = _talk(fields)
    output = str(fields.pop("output", ""))
    fields.setdefault("timeout", 0.0)
    from tracejail.traceview import Shown, trace

    shown = Shown.EVERY if every else Shown.MISSES if misses else Shown.FAILING
    if not output:
        return trace(trial_options(fields, arguments), jail, shown, talk, lambda line: print(line, file=sys.stderr))
    with open(output, "w", encoding="utf-8") as stream:
        return trace(trial_options(fields, arguments), jail, shown, talk, lambda line: print(line, file=stream))


def _import(fields: Fields, arguments: list[str]) -> int:
    from .handmade import formats_lines, import_from

    if not arguments:
        print("\n".join(formats_lines()))
        return 0
    need(arguments, 3, "FORMAT FILE PROGRAM [ARGUMENT...]")
    section = str(fields.pop("name", ""))
    options = trial_options(fields, arguments[2:])
    return import_from(arguments, section, _with_jail(options))


def _adopt(fields: Fields, arguments: list[str]) -> int:
    need(arguments, 2, "DIR PROGRAM [ARGUMENT...]")
    from .handmade import adopt_jail

    fields["jail"] = arguments[0].rstrip("/") or "/"
    return adopt_jail(arguments[0], trial_options(fields, arguments[1:]))


def _with_jail(options: TrialOptions) -> TrialOptions:
    from dataclasses import replace

    return options if options.jail else replace(options, jail=os.path.basename(options.argv[0]) + ".jail")


def _doctor(fields: Fields, arguments: list[str]) -> int:
    from .doctor import doctor

    return doctor(fields, arguments, _talk(fields))


def _audit(fields: Fields, arguments: list[str]) -> int:
    from .audit import audit

    return audit(fields, arguments, _talk(fields))


def _run(fields: Fields, arguments: list[str]) -> int:
    from .run import run

    return run(fields, arguments)


SUBCOMMANDS: dict[str, Subcommand] = {
    "learn": Subcommand(
        "[OPTION...] PROGRAM [ARGUMENT...]", "run a program, or that of --unit NAME, in a trial until a jail for it is proven",
        (*LEARN, *ATTACH, *TARGET, *DRIVE, *POLICY, *ENGINE, *FROM, *JSON, *VERBOSE), _learn,
    ),
    "build": Subcommand(
        "MANIFEST [-j DIR]", "make the jail again, from its manifest alone", (*JAIL, *REPLACE, *FROM, *HOST), manifests.build,
    ),
    "verify": Subcommand(
        "[OPTION...] MANIFEST", "run the program in a copy of its jail, nothing answered: is it clean?",
        (*JAIL, *TARGET, *DRIVE, *POLICY, *ENGINE, *FROM, *HOST, *JSON, *VERBOSE), _verify,
    ),
    "status": Subcommand(
        "MANIFEST... | DIR | --all", "what changed since, on the host and in the jail: exit 0 nothing, 1 something",
        (*JAIL, *FROM, *UPKEEP, *HOST, *JSON, *VERBOSE), _status,
    ),
    "update": Subcommand(
        "[OPTION...] MANIFEST... | DIR | --all", "bring over what changed on the host, file by file",
        (*JAIL, *FROM, *UPKEEP, *UPDATE, *(row for row in (*TARGET, *ENGINE) if row.field in PROVES), *JSON, *VERBOSE), _update,
    ),
    "list": Subcommand("MANIFEST [-0]", "the paths that a manifest holds", (*NUL, *OUTPUT, *HOST), manifests.list_paths),
    "export": Subcommand(
        "[FORMAT MANIFEST] [-o FILE]", "file lists for other tools; alone: which formats",
        (*OUTPUT, *EXPORT, *JAIL, *FROM, *HOST), manifests.export,
    ),
    "why": Subcommand("MANIFEST PATH", "who needed a path, hop by hop", HOST, manifests.why),
    "deps": Subcommand("FILE...", "what files need by what they say themselves; runs nothing", (*FROM, *JSON), _deps),
    "trace": Subcommand(
        "[OPTION...] PROGRAM [ARGUMENT...]", "the failing calls of a program, one truss-like line each",
        (*JAIL, *EVERY, *OUTPUT, *TARGET, *ENGINE, *FROM, *VERBOSE), _trace,
    ),
    "doctor": Subcommand(
        "-j DIR [OPTION...] PROGRAM [ARGUMENT...] | --pid PID",
        "why it dies in that jail: the likeliest cause first, with what cures it",
        (*JAIL, *DOCTOR, *TARGET, *DRIVE, *POLICY[:1], *FROM, *JSON, *VERBOSE, *SELF), _doctor,
    ),
    "audit": Subcommand(
        "[OPTION...] DIR | MANIFEST",
        "what in a jail helps an intruder, worst first", (*AUDIT, *FROM, *JSON, *VERBOSE), _audit,
        "The score is the sum of what is found: critical 40, high 10, medium 4, low 1, info 0; of one rule and severity the\n"
        "first ten count. Exit status 1: it is above the threshold.",
    ),
    "run": Subcommand(
        "-j DIR -u USER [OPTION...] PROGRAM [ARGUMENT...] | MANIFEST", "start a program in its jail with the least privilege",
        RUN, _run,
    ),
    "import": Subcommand(
        "[[OPTION...] FORMAT FILE PROGRAM [ARGUMENT...]]", "a manifest of another tool's list; alone: which formats",
        (*HANDMADE, *JAIL, *SECTION, *POLICY[1:2]), _import,
    ),
    "adopt": Subcommand("[OPTION...] DIR PROGRAM [ARGUMENT...]", "a manifest of a jail that has none", HANDMADE, _adopt),
    "merge": Subcommand(
        "A B... [-o C]", "one manifest of several; what differs between hosts is kept apart", (*OUTPUT, *RUNS),
        manifests.merge_manifests,
    ),
    "diff": Subcommand("A B", "what differs between two manifests", (*JSON, *HOST), manifests.diff_manifests),
}
_TAKES_PROGRAM = frozenset(("learn", "trace", "import", "adopt", "doctor", "run"))
