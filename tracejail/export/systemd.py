"""systemd: a service unit whose root is the jail's directory (systemd.exec(5), systemd.service(5)), and its socket unit.

All of the jail is read-only but for the places that were written to. What the manifest does not say, as which capabilities
the program uses, stays as systemd has it, and the unit says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tracejail.errors import ExportError
from tracejail.model import EntryType, Manifest, Step

from .box import (
    CAPABILITIES,
    beneath,
    bound_sockets,
    directory_of_jail,
    gains_privilege,
    kept_read_only,
    program,
    root_is_written,
    variables,
    writable,
)
from .request import Request
from .seccomp import allowed
from .unit_words import command_line, quoted, to_the_end, unit_name

# Of systemd.exec(5): which directories the manager makes for a service, and gives it.
_MADE = {"/run": "RuntimeDirectory", "/var/lib": "StateDirectory", "/var/cache": "CacheDirectory", "/var/log": "LogsDirectory"}
_MADE_NAME = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*(?:/[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*)*")
_TEMPORARY = ("/tmp", "/var/tmp")
# Variables that the manager gives by itself.
_GIVEN = (
    "PATH", "INVOCATION_ID", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "JOURNAL_STREAM", "MAINPID",
)
_GIVEN_TO_USERS = ("HOME", "LOGNAME", "SHELL", "USER")
# A mount of the host's own, by the type of one in the jail.
_MOUNTED = {"proc": "BindPaths", "sysfs": "BindReadOnlyPaths", "devpts": "BindPaths"}
_SIGNAL = re.compile(r"[A-Z][A-Z0-9]*(?:[+-][0-9]+)?|[0-9]+")
_NO_CAPABILITIES = "# The manifest does not say which capabilities it uses: CapabilityBoundingSet= is for who knows them."


@dataclass
class Made:
    """Directories by the directive that makes them; `modes` of each directive, as it has one for all."""

    names: dict[str, list[str]] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)

    def take(self, path: str, mode: int, owner: tuple[int, int], manifest: Manifest) -> bool:
        """Whether a directive makes this directory as it was: its place, its owner and its mode, and nothing in it that
        would have to be there before."""
        command = manifest.command
        above = next((place for place in _MADE if beneath(path, place)), "")
        key, name = _MADE.get(above, ""), path.removeprefix(above + "/")
        if not key or not _MADE_NAME.fullmatch(name) or owner != (command.uid, command.gid) or mode > 0o7777:
            return False
        if self.modes.get(key, mode) != mode or any(beneath(entry.path, path) for entry in manifest.entries):
            return False
        if path not in self.paths:
            self.names.setdefault(key, []).append(name)
            self.modes[key] = mode
            self.paths.add(path)
        return True

    def lines(self) -> list[str]:
        """The directives."""
        found = []
        for key, names in self.names.items():
            found.append(f"{key}={' '.join(names)}")
            if self.modes[key] != 0o755:
                found.append(f"{key}Mode={self.modes[key]:04o}")
        return found


def systemd(request: Request) -> Iterable[bytes]:
    """The service unit."""
    manifest, jail = request.manifest, directory_of_jail(request)
    made = Made()
    for directory in manifest.command.service.directories:
        made.take(directory.path, directory.mode, (directory.uid, directory.gid), manifest)
    places, temporary = [], False
    for place in writable(manifest):
        owner = (place.uid, place.gid)
        if place.path in _TEMPORARY and not any(beneath(entry.path, each) for entry in manifest.entries for each in _TEMPORARY):
            temporary = True
        elif place.type is not EntryType.DIRECTORY or not made.take(place.path, place.mode, owner, manifest):
            places.append(place.path)
    pid_file = manifest.command.service.pid_file
    if pid_file and not any(beneath(pid_file, path) for path in made.paths):
        pid_file = jail + pid_file   # the manager reads it from outside
    lines = [
        "# The root directory is the jail. It has devices of its own.",
        f"RootDirectory={to_the_end(jail)}",
        "MountAPIVFS=no",
        *mounts(manifest),
        *sockets(manifest),
        "",
        "# Read-only, but for what it was seen to write to.",
        "ProtectSystem=strict",
        *made.lines(),
        *(["ReadWritePaths=+/"] if root_is_written(manifest) else []),
        *(f"ReadOnlyPaths={quoted('+' + path, path)}" for path in kept_read_only(manifest)),
        *(f"ReadWritePaths={quoted('+' + path, path)}" for path in places),
        *(["PrivateTmp=yes"] if temporary else []),
    ]
    return unit(request, lines, pid_file)


def mounts(manifest: Manifest) -> list[str]:
    """What of the host's own mounts it sees."""
    return [f"{_MOUNTED[mount.type]}={mount.path}" for mount in manifest.mounts]


def sockets(manifest: Manifest) -> list[str]:
    """What it sees of other programs' sockets, where they are there when it starts."""
    return [
        f"BindReadOnlyPaths={quoted('-' + source, source)}{'' if source == path else ':' + quoted(path, path)}"
        for source, path in bound_sockets(manifest).items()
    ]


def unit(request: Request, surroundings: Sequence[str], pid_file: str) -> list[bytes]:
    """The unit's text: how it is started and stopped, and around it what the format is about."""
    manifest, command = request.manifest, request.manifest.command
    service, name = command.service, unit_name(request.name, command.argv)
    lines = [
        f"# {name}.service, made by tracejail",
        "[Unit]",
        f"Description={name} in a jail".replace("%", "%%"),
        "After=network.target",
        "",
        "[Service]",
        f"Type={_type(manifest)}",
        *([f"PIDFile={to_the_end(pid_file)}"] if pid_file else []),
        *([f"Sockets={name}.socket"] if service.sockets else []),
        *_steps("ExecStartPre", service.before),
        f"ExecStart={command_line([program(manifest), *command.argv[1:]])}",
        *_steps("ExecStartPost", service.after),
        *_reload(manifest, name),
        *_steps("ExecStop", service.stop),
        *([f"KillSignal={_signal(command.stop)}"] if command.stop != "TERM" else []),
        *([f"SuccessExitStatus={command.expect}"] if command.expect else []),
        "",
        *_who(manifest),
        *([f"WorkingDirectory={to_the_end(command.directory)}"] if command.directory != "/" else []),
        *([f"UMask={service.umask:04o}"] if service.umask >= 0 else []),
        *_environment(manifest),
        "",
        *surroundings,
        "",
        *_privileges(manifest),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return ["\n".join([*lines, ""]).encode("utf-8")]


def _type(manifest: Manifest) -> str:
    if manifest.command.ready == "notify":
        return "notify"
    return "forking" if manifest.command.service.pid_file else "exec"


def _steps(key: str, steps: Sequence[Step]) -> list[str]:
    # "!" is not "+": the step keeps all that confines the service, but for the user.
    return [
        f"{key}={command_line(step.argv, '-' * step.may_fail + '!' * step.as_root, main=True)}" for step in steps
    ]


def _signal(word: str) -> str:
    if not _SIGNAL.fullmatch(word):
        raise ExportError(f"{word!r}: not the name of a signal", "learn it again with another --stop or --reload")
    return word if word[0].isdigit() or word.startswith("SIG") else f"SIG{word}"


def _reload(manifest: Manifest, name: str) -> list[str]:
    command = manifest.command
    found = _steps("ExecReload", command.service.reload)
    if not command.reload or command.reload.startswith("command:"):
        return found
    # A program of the host's is out of reach, with "+" too.
    return [*found, f"# To reload it: systemctl kill --kill-whom=main -s {_signal(command.reload)} {name}.service"]


def _who(manifest: Manifest) -> list[str]:
    command = manifest.command
    if not command.user and not command.uid and not command.gid:
        return []
    word = command.user.partition(":")[0]
    # A name as it was given; numbers are what the jail's files have, and what a group was found to be.
    named = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,30}", word)
    more = [str(group) for group in command.groups if group != command.gid]
    return [
        f"User={word if named else command.uid}",
        f"Group={command.gid}",
        *([f"SupplementaryGroups={' '.join(more)}"] if more else []),
    ]


def _environment(manifest: Manifest) -> list[str]:
    own = {*_GIVEN, *(_GIVEN_TO_USERS if _who(manifest) else ())}
    # One that is passed would take the place of the manager's own.
    names = [name for name in variables(manifest) if name not in own]
    if not names:
        return []
    return [
        "# The manifest holds no values: what the manager does not have itself is for Environment=NAME=VALUE",
        f"PassEnvironment={' '.join(names)}",
    ]


def _privileges(manifest: Manifest) -> list[str]:
    lines = [_NO_CAPABILITIES]
    if not manifest.command.uid:
        lines.append(f"# Learned by root, it had no others than {' '.join(CAPABILITIES)}")
    lines += _calls(manifest)
    if path := gains_privilege(manifest):
        return [f"# {quoted(path, path)} gives privileges to who executes it.", "NoNewPrivileges=no", *lines]
    return ["NoNewPrivileges=yes", *lines]


def _calls(manifest: Manifest) -> list[str]:
    if not manifest.syscalls:
        return ["# Which system calls it makes was not noted (learn --syscalls), and so none is kept from it."]
    # ENOSYS: what a program falls back from, as on a kernel that lacks the call.
    filtered = f"SystemCallFilter={' '.join(allowed(manifest))}"
    return ["SystemCallArchitectures=native", "SystemCallErrorNumber=ENOSYS", filtered]


def systemd_socket(request: Request) -> Iterable[bytes]:
    """The socket unit, for a service that is given its listening sockets. Raises ExportError where it is given none."""
    command = request.manifest.command
    if not command.service.sockets:
        raise ExportError("the program was given no sockets when it was learned", "learn it with --socket or --unit")
    name = unit_name(request.name, command.argv)
    lines = [f"# {name}.socket, made by tracejail", "[Unit]", f"Description=Sockets of {name}", "", "[Socket]"]
    for address in command.service.sockets:
        kind, _, rest = address.partition(":")
        lines.append(f"Listen{'Datagram' if kind == 'udp' else 'Stream'}={to_the_end(rest.removeprefix(':'))}")
    lines += [f"Service={name}.service", "", "[Install]", "WantedBy=sockets.target", ""]
    return ["\n".join(lines).encode("utf-8")]
