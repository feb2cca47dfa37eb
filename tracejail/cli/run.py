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
    for line in become(plan, root):
        os.write(2, f"tracejail: {line}\n".encode())
    execute(plan)
    return 125


def _options(fields: Fields, arguments: list[str]) -> RunOptions:
    from tracejail.run import RunOptions, of_manifest

    manifest = "" if fields.get("jail") or len(arguments) != 1 else arguments[0]
    options = RunOptions(
        argv=() if manifest else tuple(arguments),
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
        mounts=_words(fields, "mounts"),
        written=_words(fields, "written"),
    )
    if not manifest:
        return options
    from tracejail.manifest import read_manifest

    try:
        return of_manifest(read_manifest(manifest), options)
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
