"""The command `run`: its words. What it starts takes its place."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

from tracejail.errors import RunError, TracejailError

from .escape import escape
from .options import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tracejail.model import Manifest
    from tracejail.run import RunOptions


def run(fields: Fields, arguments: list[str]) -> int:
    """Does not return where the program is started. Raises RunError."""
    import unicodedata  # noqa: F401  # of escape: in the jail it would be the jail's

    from tracejail.jail.confine import become, execute, steps
    from tracejail.kernel.letting_go import can_leave_terminal
    from tracejail.run import prepare

    tells, dry = bool(fields.pop("tells", False)), bool(fields.pop("dry", False))
    plan, root = prepare(_options(fields, arguments))
    if dry:
        print("\n".join(map(escape, steps(plan))))
        return 0
    if tells:
        print("\n".join(map(escape, steps(plan))), file=sys.stderr, flush=True)
    _tell(list(plan.notes))
    if (plan.isolation is not None and plan.isolation.processes) or not can_leave_terminal():
        from tracejail.jail.supervise import supervise

        return supervise(plan, root, _tell)
    _tell(become(plan, root))
    execute(plan)
    return 125


def _tell(lines: list[str]) -> None:
    with contextlib.suppress(OSError):
        if lines and os.path.samestat(os.fstat(0), os.fstat(2)) and stat.S_ISSOCK(os.fstat(2).st_mode):
            return   # as inetd(8) starts it: all that is written goes to a stranger
        for line in lines:
            os.write(2, f"tracejail: {escape(line)}\n".encode())


def _options(fields: Fields, arguments: list[str]) -> RunOptions:
    from tracejail.run import RunOptions, of_manifest

    if fields.get("written") and not fields.get("isolate"):
        raise RunError("--writable: without --isolate all is as it is in the jail", "add --isolate")
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
    from tracejail.trusted import check_file

    try:
        check_file(manifest)
        made = read_manifest(manifest)
        return of_manifest(made, _with_unit(made, options), landlock)
    except RunError:
        raise
    except TracejailError as error:
        raise RunError(error.message, error.hint or "-j DIR names a jail, and the program comes after the options") from None


def _with_unit(manifest: Manifest, options: RunOptions) -> RunOptions:
    """With the environment that its systemd unit sets now."""
    from dataclasses import replace

    from .progress import Talk
    from .unit import environment_of_unit

    unit = manifest.command.service.unit
    if not unit:
        return options
    environment = dict(environment_of_unit(unit, manifest.host.root, options.user or manifest.command.user, Talk(-1, False)))
    return replace(options, environment=tuple((environment | dict(options.environment)).items()))


def _words(fields: Fields, name: str) -> tuple[str, ...]:
    value = fields.get(name, ())
    return value if isinstance(value, tuple) else ()


def _pair(word: str) -> tuple[str, str]:
    name, given, value = word.partition("=")
    if not name or not given:
        raise RunError(f"-E {word}: no NAME=VALUE", "as -E LANG=C.UTF-8")
    return name, value
