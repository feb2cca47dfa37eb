"""Options as rows of data, and their parsing. Options stop at the first word that is none: what follows a program's
name is the program's, `--` and all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracejail.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its names, the field that it fills, what it takes ("" for a switch), and its line of help."""

    names: tuple[str, ...]
    field: str
    takes: str
    about: str
    repeat: bool = False
    choices: tuple[str, ...] = ()
    number: bool = False


def _row(
    names: str, field: str, takes: str, about: str, repeat: bool = False, choices: str = "", number: bool = False
) -> Option:
    return Option(tuple(names.split()), field, takes, about, repeat, tuple(choices.split()), number)


VERBOSE = (
    _row("-q --quiet", "quiet", "", "no progress, no report; the exit status tells"),
    _row("-v --verbose", "verbose", "", "each miss as it comes, and the target's own output"),
)
JSON = (_row("--json", "json", "", "one JSON document on standard output"),)
FROM = (_row("--from", "host_root", "ROOT", "the tree that files come from (default /)"),)
ENGINE = (
    _row("--engine", "engine", "NAME", "how the target is watched (default auto)", choices="auto bpf seccomp"),
)
TARGET = (
    _row("-u --user", "user", "USER", "run the target as this user of the host, or UID:GID"),
    _row("--chdir", "directory", "DIR", "its working directory in the jail (default /)"),
    _row("-E --env", "environment", "K=V", "an environment variable more", repeat=True),
    _row("--stdin", "stdin", "FILE", "its standard input (- reads this one to its end first; default: empty)"),
    _row("--timeout", "timeout", "S", "seconds that one run may take (default 60)", number=True),
    _row("--net", "network", "KIND", "private (default): a network of its own; or host", choices="private host"),
    _row("--mount", "mounts", "KIND", "mount proc, sys or devpts from the start", repeat=True, choices="proc sys devpts"),
)
DRIVE = (
    _row("--exercise", "exercises", "CMD", "a shell command that drives the target when it is ready", repeat=True),
    _row("--ready", "ready", "COND", "tcp:PORT, unix:PATH, file:PATH or command:CMD (default: listens and is quiet)"),
    _row("--reload", "reload", "SIGNAL", "send this after the exercises (HUP, say), and exercise again"),
    _row("--stop", "stop", "SIGNAL", "how it is told to end (default TERM)"),
    _row("--expect", "expect", "STATUS", "the exit status that is right for it (default 0)", number=True),
)
POLICY = (
    _row("--allow", "allows", "GLOB", "let in what the policy denies", repeat=True),
    _row("--exclude", "excludes", "GLOB", "treat these paths as if the host had them not", repeat=True),
    _row("--max-names", "max_names", "N", "names shown of one directory (default 20000)", number=True),
)
LEARN = (
    _row("-j --jail", "jail", "DIR", "the jail (default NAME.jail)"),
    _row("-m --manifest", "manifest", "FILE", "the manifest (default DIR.json)"),
    _row("--replace", "replace", "", "make a jail anew that is there already"),
    _row("--append", "append", "", "add to the jail and manifest that are there"),
    _row("--include", "includes", "PATH", "a path that the jail is to hold, with all beneath it", repeat=True),
    _row("--accounts", "accounts", "WHICH", "used (default) or all of passwd and group", choices="used all"),
    _row("--listing", "listing", "WHICH", "used (default): listed names that were used; or all names", choices="used names"),
    _row("--restart", "restart", "", "collect the misses and start again, rather than answer in place"),
    _row("--max-rounds", "max_rounds", "N", "give up after so many (default 50)", number=True),
)
JAIL = (_row("-j --jail", "jail", "DIR", "the jail"),)
OUTPUT = (_row("-o --output", "output", "FILE", "write there (- or nothing: standard output)"),)

Value = str | float | bool | tuple[str, ...]


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
