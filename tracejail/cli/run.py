"""The command `run`: its words. What it starts takes its place."""

from __future__ import annotations

import os
import sys

from tracejail.errors import RunError, TracejailError

from .escape import escape
from .options import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tracejail.run import RunOptions


def run(fields: Fields, arguments: list[str]) -> int:
    """Does not return where the program is started. Raises RunError."""
    from tracejail.jail.confine import become, execute, steps
    from tracejail.run import prepare

    tells, dry = bool(fields.pop("tells", False)), bool(fields.pop("dry", False))
    plan, root = prepare(_options(fields, arguments))
    if dry:
        print("\n".join(map(escape, steps(plan))))
        return 0
    if tells:
        print("\n".join(map(escape, steps(plan))), file=sys.stderr, flush=True)
    if plan.isolation is not None and plan.isolation.processes:
        from tracejail.jail.supervise import supervise

        return supervise(plan, root, _tell)
    _tell(become(plan, root))
    execute(plan)
    return 125


def _tell(lines: list[str]) -> None:
    for line in lines:
        os.write(2, f"tracejail: {line}\n".encode())


def _options(fields: Fields, arguments: list[str]) -> RunOptions:
    from tracejail.run import RunOptions, of_manifest

    manifest = str(fields.get("manifest", ""))
    if not manifest and not fields.get("jail") and len(arguments) == 1:
        manifest, arguments = arguments[0], []
    options = RunOptions(
        argv=tuple(arguments),
        jail=str(fields.get("jail", "")),
        user=str(fields.get("user", "")),
        directory=str(fields.get("directory", "/")),
        umask=str(fields.get("umask", "")),
        kept=_words(fields, "kept"),
        limits=_words(fields, "limits"),
        environment=tuple(map(_pair, _words(fields, "environment"))),
        allow_root=bool(fields.get("allow_root")),
        isolate=bool(fields.get("isolate")),
        private_network=fields.get("network") == "private",
        private_processes=bool(fields.get("private_processes")),
        seccomp=str(fields.get("seccomp", "")),
        mounts=_words(fields, "mounts"),
        written=_words(fields, "written"),
    )
    landlock = bool(fields.get("landlock"))
    if not manifest:
        if landlock:
            raise RunError("--landlock: its rules are those of a manifest", "name one with -m")
        return options
    from tracejail.manifest import read_manifest

    try:
        return of_manifest(read_manifest(manifest), options, landlock)
    except RunError:
        raise
    except TracejailError as error:
        raise RunError(error.message, error.hint or "-j DIR names a jail, and the program comes after the options") from None


def _words(fields: Fields, name: str) -> tuple[str, ...]:
    value = fields.get(name, ())
    return value if isinstance(value, tuple) else ()


def _pair(word: str) -> tuple[str, str]:
    name, given, value = word.partition("=")
    if not name or not given:
        raise RunError(f"-E {word}: no NAME=VALUE", "as -E LANG=C.UTF-8")
    return name, value
