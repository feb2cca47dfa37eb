"""Options as rows of data, and their parsing. Options stop at the first word that is none: what follows a program's
name is the program's, `--` and all."""

from __future__ import annotations

from tracejail.errors import UsageError

TYPE_CHECKING = False  # mypy takes it for true; typing itself and collections.abc would cost --help its haste
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from tracejail.model import TrialOptions


class Option:
    """An option: its names, the field that it fills, what it takes ("" for a switch), and its line of help.

    No dataclass: to import those takes longer than all that --help does.
    """

    __slots__ = ("names", "field", "takes", "about", "repeat", "choices", "number")

    def __init__(
        self, names: str, field: str, takes: str, about: str, repeat: bool = False, choices: str = "", number: bool = False
    ) -> None:
        self.names = names.split()
        self.field = field
        self.takes = takes
        self.about = about
        self.repeat = repeat
        self.choices = choices.split()
        self.number = number


VERBOSE = (
    Option("-q --quiet", "quiet", "", "no progress, no report; the exit status tells"),
    Option("-v --verbose", "verbose", "", "each miss as it comes, and the target's own output"),
)
JSON = (Option("--json", "json", "", "one JSON document on standard output"),)
FROM = (Option("--from", "host_root", "ROOT", "the tree that files come from (default /)"),)
ENGINE = (
    Option("--engine", "engine", "NAME", "how the target is watched: auto (default), bpf or seccomp", choices="auto bpf seccomp"),
)
KEEP_CAP = Option(
    "--keep-cap", "kept", "NAME", "a capability that it is to have, as net_bind_service, and none that is not named", repeat=True
)
TARGET = (
    Option("-u --user", "user", "USER", "run the target as USER[:GROUP[,GROUP...]], names of the host or numbers"),
    Option("--chdir", "directory", "DIR", "its working directory in the jail (default /)"),
    Option("-E --env", "environment", "K=V", "an environment variable more", repeat=True),
    KEEP_CAP,
    Option("--stdin", "stdin", "FILE", "its standard input (- reads this one to its end first; default: empty)"),
    Option("--timeout", "timeout", "S", "seconds that one run may take (default 60)", number=True),
    Option("--net", "network", "KIND", "private (default): a network of its own; or host", choices="private host"),
    Option("--mount", "mounts", "KIND", "mount proc, sys or devpts from the start", repeat=True, choices="proc sys devpts"),
)
DRIVE = (
    Option("--exercise", "exercises", "CMD", "a shell command that drives the target when it is ready", repeat=True),
    Option("--ready", "ready", "COND", "tcp:PORT, unix:PATH, file:PATH, command:CMD or notify (default: listens and is quiet)"),
    Option("--reload", "reload", "SIGNAL", "send this after the exercises (HUP, say), or do command:CMD; then exercise again"),
    Option("--reopen", "reopen", "SIGNAL", "send this (USR1, say) for new log files, and exercise again"),
    Option("--again", "again", "", "start it a second time, in what the first time left, and exercise again"),
    Option("--stop", "stop", "SIGNAL", "how it is told to end (default TERM)"),
    Option("--grace", "grace", "S", "seconds that it then has until it is killed (default 10)", number=True),
    Option("--expect", "expect", "STATUS", "the exit status that is right for it (default 0)", number=True),
)
POLICY = (
    Option("--allow", "allows", "GLOB", "let in what the policy denies", repeat=True),
    Option("--exclude", "excludes", "GLOB", "treat these paths as if the host had them not", repeat=True),
    Option("--max-names", "max_names", "N", "names shown of one directory (default 20000)", number=True),
)
LEARN = (
    Option("--unit", "unit", "NAME", "the program of this systemd unit, as the unit has it; what is given beside it wins"),
    Option("-j --jail", "jail", "DIR", "the jail (default NAME.jail, of the program or unit)"),
    Option("-m --manifest", "manifest", "FILE", "the manifest (default DIR.json)"),
    Option("--replace", "replace", "", "make a jail anew that is there already"),
    Option("--append", "append", "", "add to the jail and manifest that are there"),
    Option("--include", "includes", "PATH", "a path that the jail is to hold, with all beneath it", repeat=True),
    Option("--accounts", "accounts", "WHICH", "used (default) or all of passwd and group", choices="used all"),
    Option("--listing", "listing", "WHICH", "used (default): listed names that were used; or all names", choices="used names"),
    Option("--syscalls", "syscalls", "", "note which system calls it makes, for export seccomp and the like (engine bpf)"),
    Option("--restart", "restart", "", "collect the misses and start again, rather than answer in place"),
    Option("--max-rounds", "max_rounds", "N", "give up after so many (default 50)", number=True),
)
ATTACH = (
    Option("--attach", "process", "PID", "no program: watch one that runs, for a first guess, to ^C or --timeout", number=True),
)
HOST = (Option("--host", "label", "LABEL", "of a merged manifest the part for this host (default: the first)"),)
JAIL = (Option("-j --jail", "jail", "DIR", "the jail"),)
OUTPUT = (Option("-o --output", "output", "FILE", "write there (- or nothing: standard output)"),)
NUL = (Option("-0 --null", "nul", "", "end each path with NUL instead of a newline"),)
REPLACE = (Option("--replace", "replace", "", "make a jail anew that is there already"),)
SELF = (Option("--self", "self", "", "what this kernel and these privileges allow: which engine, and why"),)
DOCTOR = (
    Option(
        "--pid", "process", "PID", "no jail: a process that runs in one already; for --timeout S (default 10), or until ^C",
        number=True,
    ),
    Option("--explain", "explain", "TEXT", "no jail: what a message, or those of a log file, may mean in one"),
    Option("--compare", "compare", "WHEN", "run it on the host too, in memory: always, never, or (auto, the default) where that "
           "is safe and quick", choices="auto always never"),
    Option("--fix", "fix", "", "try the cures in a copy in memory, run after run, and list all that it took"),
    Option("--apply", "apply", "", "the same, and then do them to the jail itself"),
    Option("--static", "static", "", "run nothing: what its files alone show; without PROGRAM of all programs in the jail"),
)
EXPORT = (
    Option("--name", "name", "NAME", "of the unit or image that is made (default: the program's)"),
    Option("--packages", "packages", "", "packages in place of files, where the format can say either"),
)
EVERY = (
    Option("-a --all", "every", "", "calls that succeed too"),
    Option("-m --misses", "misses", "", "only calls that miss a file or are refused, each once"),
)

RUN = (
    Option("-j --jail", "jail", "DIR", "the jail; without it the one word is a manifest"),
    Option("-m --manifest", "manifest", "FILE", "a manifest, which says all that is not said here"),
    Option("-u --user", "user", "USER", "whom it runs as: USER[:GROUP[,GROUP...]], names of the host or numbers"),
    Option("--chdir", "directory", "DIR", "its working directory in the jail (default /)"),
    Option("-E --env", "environment", "K=V", "an environment variable; it has no others but PATH", repeat=True),
    Option("--umask", "umask", "MODE", "default 077"),
    KEEP_CAP,
    Option("--limit", "limits", "NAME=N", "a limit of setrlimit(2), as nproc=64 or as=512M", repeat=True),
    Option("--allow-root", "allow_root", "", "let it run as user 0, whom a chroot does not hold"),
    Option("--isolate", "isolate", "", "mounts of its own: the jail read-only, but for what the manifest has as written"),
    Option("--writable", "written", "PATH", "a place of the jail that it writes to, with --isolate", repeat=True),
    Option("--net", "network", "KIND", "host (default); or private, with --isolate: its own", choices="private host"),
    Option("--own-processes", "private_processes", "", "with --isolate: it sees no other processes, and all end with tracejail"),
    Option("--seccomp", "seccomp", "FILE", "only the system calls that a profile allows (tracejail export seccomp)"),
    Option("--landlock", "landlock", "", "of the jail's files only those that the manifest has, and as the program used them"),
    Option("--mount", "mounts", "KIND", "mount proc, sys or devpts, for it alone; of a manifest what it needs",
           repeat=True, choices="proc sys devpts"),
    Option("--print", "tells", "", "say each step"),
    Option("-n --dry-run", "dry", "", "say each step, and do none"),
)
AUDIT = (
    Option("-m --manifest", "manifest", "FILE", "the manifest of the jail (default: DIR.json, where that is there)"),
    Option("-u --user", "user", "USER", "whom the program runs as, where no manifest says so: USER[:GROUP[,GROUP...]]"),
    Option("--threshold", "threshold", "N", "the score that is allowed: exit status 1 is for more (default 0)", number=True),
    Option("--ignore", "ignored", "RULE[:GLOB]", "leave out what a rule finds, at all paths or at these", repeat=True),
    Option("--advisories", "advisories", "FILE", "known holes of packages, as Debian's security tracker has them (JSON)"),
    Option("--release", "release", "NAME", "the release that they are looked up for (default: the host's, as bookworm)"),
    Option("--remove", "remove", "", "take away what no run needed, once a copy of the jail without it is proven by verify"),
    Option("-n --dry-run", "dry", "", "with --remove: prove it, say what would go, and leave it"),
    Option("-E --env", "environment", "K=V", "with --remove: as given to learn", repeat=True),
    Option("--sarif", "sarif", "", "one SARIF 2.1.0 document on standard output, for code scanning of a CI"),
)
RUNS = (
    Option("--same-host", "same_host", "", "they are runs of one machine: what differs is an error"),
    Option("--apart", "apart", "", "they are of several machines, even if nothing that they say differs"),
)
UPKEEP = (
    Option("--full", "full", "", "read every file, whatever its size and times say"),
    Option("--all", "every", "", "all manifests of /var/lib/tracejail"),
)
UPDATE = (
    Option("-n --dry-run", "dry", "", "say what would be done, and do nothing"),
    Option("--verify", "verify", "", "first run the program in a copy of the jail as it is to be: only if that is clean"),
    Option("--force", "force", "", "what was changed in the jail too"),
    Option("--rollback", "rollback", "", "back to what it was before the last update; once more: forth again"),
    Option(
        "--hook", "hook", "FOR", "print a hook that calls it: apt, or units: systemd-path, systemd-timer, systemd-service",
        choices="apt systemd-path systemd-timer systemd-service",
    ),
)
PROVES = frozenset(("environment", "timeout", "engine"))   # what of the run's options --verify takes
SECTION = (Option("--name", "name", "SECTION", "of a file that has more than one"),)
HANDMADE = (
    Option("-m --manifest", "manifest", "FILE", "the manifest (default DIR.json)"),
    Option("--replace", "replace", "", "make a manifest anew that is there already"),
    Option("-u --user", "user", "USER", "whom the program runs as: USER[:GROUP[,GROUP...]]"),
    Option("--chdir", "directory", "DIR", "its working directory in the jail (default /)"),
    *POLICY[:1],
    *FROM,
)

Value = str | float | bool | tuple[str, ...]
Fields = dict[str, Value]


def parse(words: Sequence[str], options: Iterable[Option], command: str) -> tuple[dict[str, Value], list[str]]:
    """The fields that the options fill, and the words from the first that is no option; one `--` before them is taken
    away. Raises UsageError."""
    by_name = {name: option for option in options for name in option.names}
    fields: dict[str, Value] = {}
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            return fields, list(words[position + 1 :])
        if not word.startswith("-") or word == "-":
            break
        position += 1
        name, glued, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        option = by_name.get(name)
        if option is None or (glued and not option.takes):
            raise UsageError(f"{command}: no option {word}", f"tracejail {command} --help shows those that there are")
        if not option.takes:
            fields[option.field] = True
            continue
        if not glued:
            if position >= len(words):
                raise UsageError(f"{command}: {word} wants {option.takes}", f"tracejail {command} --help")
            value = words[position]
            position += 1
        _fill(fields, option, name, value, command)
    return fields, list(words[position:])


def _fill(fields: dict[str, Value], option: Option, name: str, value: str, command: str) -> None:
    if option.choices and value not in option.choices:
        raise UsageError(f"{command}: {name} {value}: not one of {', '.join(option.choices)}", f"tracejail {command} --help")
    if option.number:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e9:
            raise UsageError(f"{command}: {name} {value}: not a number from 0", f"tracejail {command} --help")
        fields[option.field] = number
    elif option.repeat:
        before = fields.get(option.field, ())
        assert isinstance(before, tuple)
        fields[option.field] = (*before, value)
    else:
        fields[option.field] = value


def help_lines(options: Iterable[Option]) -> list[str]:
    """A line an option."""
    rows = [(", ".join(option.names) + (f" {option.takes}" if option.takes else ""), option.about) for option in options]
    return [f"  {names:<26} {about}" for names, about in rows]


def trial_options(fields: Mapping[str, Value], arguments: list[str], base: TrialOptions | None = None) -> TrialOptions:
    """What the words stand for, in place of what `base` says. Raises UsageError."""
    from dataclasses import replace

    from tracejail.model import TrialOptions

    given: dict[str, Any] = dict(fields)
    pairs = []
    for pair in given.pop("environment", ()):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"-E {pair}: not K=V", "give NAME=VALUE")
        pairs.append((key, value))
    if pairs:
        given["environment"] = (*(base.environment if base else ()), *pairs)
    for key in ("expect", "max_names", "max_rounds"):
        if key in given:
            given[key] = int(given[key])
    if arguments or base is None:
        given["argv"] = tuple(arguments)
    return replace(base or TrialOptions(()), **given)


def process_id(fields: Fields, option: str, arguments: list[str]) -> int:
    """The process that an option names, in the place of a program. Raises UsageError."""
    process = fields.pop("process")
    assert isinstance(process, float)
    if process < 1 or process % 1:
        raise UsageError(f"{option} {process:g}: not a process id", "ps -e shows those that there are")
    if arguments:
        raise UsageError(f"{option} takes no program, and here is {arguments[0]}", "leave out one of them")
    return int(process)


def need(arguments: list[str], count: int, what: str) -> None:
    """Raises UsageError for fewer words."""
    if len(arguments) < count:
        raise UsageError(f"missing: {what}", "tracejail COMMAND --help shows what it takes")


def exactly(arguments: list[str], count: int, what: str) -> None:
    """Raises UsageError for fewer words, or more."""
    need(arguments, count, what)
    if len(arguments) > count:
        raise UsageError(f"{arguments[count]}: one word too many", f"it takes {what}")
