"""A service unit, read as systemd would read it: its commands, its user, its environment, what is made for it.

Nothing of systemd is asked, and nothing is run. What a trial has no way to do is said, and not done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tracejail.errors import UsageError
from tracejail.model import JailPath, MadeDirectory, Step

from . import unit_files
from .accounts import Account, find_account, find_group, find_identity
from .dynamic_user import FIRST, LAST, dynamic_id
from .host import HostRoot, glob, inspect, read_start
from .unit_files import SEARCH, UnitFiles, find_unit, full_name, template_of, templates_beside, unit_at
from .unit_settings import Settings, settings_of
from .unit_sockets import addresses, directories
from .unit_syntax import CommandLine, Malformed, commands, environment_file, expand, substitute

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LARGEST = 1 << 20  # bytes of an environment file
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_SHELLS = ("nologin", "false", "true")
_TYPES = ("simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle")
# Setting, where its directories lie, the variable that names them.
_DIRECTORIES = (
    ("RuntimeDirectory", "/run", "RUNTIME_DIRECTORY"),
    ("StateDirectory", "/var/lib", "STATE_DIRECTORY"),
    ("CacheDirectory", "/var/cache", "CACHE_DIRECTORY"),
    ("LogsDirectory", "/var/log", "LOGS_DIRECTORY"),
    ("ConfigurationDirectory", "/etc", "CONFIGURATION_DIRECTORY"),
)
# What the program would notice and a trial does not do; with what is said of it. A value that is the default is no news.
_NOT_DONE = (
    ("ExecStopPost", "", "it is not run"),
    ("PAMName", "", "no PAM session is opened"),
    ("BindPaths", "", "it is not bound"),
    ("BindReadOnlyPaths", "", "it is not bound"),
    ("TemporaryFileSystem", "", "it is not mounted"),
    ("LoadCredential", "", "no credentials are given"),
    ("LoadCredentialEncrypted", "", "no credentials are given"),
    ("SetCredential", "", "no credentials are given"),
    ("SetCredentialEncrypted", "", "no credentials are given"),
    ("OpenFile", "", "it is not opened"),
    ("BusName", "", "there is no bus in the trial"),
    ("StandardInput", "null", "its standard input is empty"),
    ("AmbientCapabilities", "", "they are not given in the trial"),
    ("JoinsNamespaceOf", "", "its namespaces are its own"),
    ("NetworkNamespacePath", "", "its network is its own"),
)
_REFUSED = ("RootDirectory", "RootImage")
# Settings of [Service] that are used here, or that mean nothing to a single run.
_KNOWN = (
    "Type ExecCondition ExecStartPre ExecStart ExecStartPost ExecReload ExecStop User Group SupplementaryGroups DynamicUser "
    "Environment EnvironmentFile PassEnvironment UnsetEnvironment WorkingDirectory PIDFile KillSignal ReloadSignal Sockets "
    "PermissionsStartOnly ExecSearchPath Restart RestartSec TimeoutSec TimeoutStartSec TimeoutStopSec TimeoutAbortSec "
    "RestartPreventExitStatus RestartForceExitStatus RestartKillSignal StandardOutput StandardError SyslogIdentifier "
    "RemainAfterExit GuessMainPID NotifyAccess UMask RuntimeDirectoryPreserve StartLimitInterval StartLimitBurst"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """What a service unit says, for one service: specifiers and variables replaced, lists put together."""

    name: str
    source: str                             # its name, or the path of its file where that was given
    paths: tuple[str, ...]                  # what was read
    type: str
    start: tuple[Step, ...]                 # one, but for a oneshot
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    reload: tuple[Step, ...] = ()
    stop: tuple[Step, ...] = ()
    user: str = ""                          # as -u takes it
    environment: tuple[tuple[str, str], ...] = ()   # all of it: a service inherits nothing
    directory: str = "/"
    directories: tuple[MadeDirectory, ...] = ()
    sockets: tuple[str, ...] = ()           # as Service.sockets
    pid_file: str = ""
    umask: int = 0o022
    kill_signal: str = "SIGTERM"
    reload_signal: str = ""
    warnings: tuple[str, ...] = ()          # what is otherwise than systemd would have it
    ignored: tuple[str, ...] = ()           # settings that only confine, limit or watch


def read_unit(host: HostRoot, word: str, user: str = "", passed: Mapping[str, str] | None = None) -> Unit:
    """The unit of a name or of a path. `user` is in the place of its own one; `passed` is what PassEnvironment= finds.

    Raises UsageError: no such unit, a masked one, one that can't be started or can't be learned.
    """
    is_path = "/" in word
    if not is_path:
        name = full_name(word)
        if "@." in name:
            raise UsageError(f"{name}: is a template", f"name an instance: {name.replace('@.', '@NAME.')}")
        files = find_unit(host, name)
        if files is None:
            raise unit_files.not_found(host, name)
    else:
        files = unit_at(host, word)
    source = os.path.abspath(word) if is_path else files.name
    return _Reader(host, files, source, settings_of(host, files)).unit(user, passed or {})


@dataclass(slots=True)
class _Reader:
    """A unit on its way from settings to meaning."""

    host: HostRoot
    files: UnitFiles
    source: str
    settings: Settings

    def unit(self, user: str, passed: Mapping[str, str]) -> Unit:
        files = self.files
        self._refuse()
        kind = self._type()
        user = user or self._user()
        account = find_account(self.host, user.partition(":")[0]) if user else None
        owner = find_identity(self.host, user)[:2] if user else (0, 0)
        made, variables = self._directories(owner)
        sockets, above_sockets = self._sockets()
        environment = {**self._manager_environment(account), **variables, **self._environment(passed)}
        self._unset(environment)
        start = self._steps("ExecStart", environment)
        if not start:
            raise UsageError(f"{files.name}: has no ExecStart=, so there is nothing to learn", "name another unit, or a program")
        if len(start) > 1 and kind != "oneshot":
            raise UsageError(
                f"{files.name}: has {len(start)} ExecStart=, which only Type=oneshot may have",
                "an empty ExecStart= in a drop-in takes the earlier ones away",
            )
        if kind == "oneshot" and (template := templates_beside(self.host, files.name)):
            self.settings.warnings.append(f"it starts once and ends; is an instance of {template} what you mean?")
        before = [step for key in ("ExecCondition", "ExecStartPre") for step in self._steps(key, environment)]
        pid_file = self.settings.text("PIDFile")
        self._not_done()
        return Unit(
            name=files.name,
            source=self.source,
            paths=files.paths,
            type=kind,
            start=start,
            before=tuple(before),
            after=self._steps("ExecStartPost", environment),
            reload=self._steps("ExecReload", environment),
            stop=self._steps("ExecStop", environment),
            user=user,
            environment=tuple(environment.items()),
            directory=self._directory(account, made),
            # Those of the sockets first: what the service has of its own there has the last word.
            directories=(*dict.fromkeys((*above_sockets, *made)),),
            sockets=sockets,
            umask=self._mode("UMask", 0o022, 0o777),
            pid_file=_normal(os.path.join("/run", pid_file)) if pid_file else "",
            kill_signal=self.settings.text("KillSignal", "SIGTERM"),
            reload_signal=self.settings.text("ReloadSignal", "SIGHUP") if kind == "notify-reload" else "",
            warnings=tuple(dict.fromkeys(f"{files.name}: {line}" for line in self.settings.warnings)),
            ignored=tuple(sorted({key for section, key in self.settings.values if _only_confines(section, key)})),
        )

    def _refuse(self) -> None:
        for key in _REFUSED:
            if self.settings.every(key) and self.settings.text(key) != "/":
                raise UsageError(
                    f"{self.files.name}: {key}={self.settings.text(key)}: it has a root of its own already",
                    f"learn what it starts, from that root: --from {self.settings.text(key)} PROGRAM",
                )

    def _not_done(self) -> None:
        for key, defaults, said in _NOT_DONE:
            for value in self.settings.every(key):
                if value not in defaults.split():
                    self.settings.warnings.append(f"{key}={value}: {said}")

    def _type(self) -> str:
        bus = bool(self.settings.every("BusName"))
        default = "dbus" if bus else "simple" if self.settings.every("ExecStart") else "oneshot"
        kind = self.settings.text("Type", default)
        if kind in _TYPES:
            return kind
        self.settings.warnings.append(f"Type={kind}: not known; taken for {default}")
        return default

    # --- who, and in what surroundings -----------------------------------------------------------------------------

    def _user(self) -> str:
        """The user in the words of -u, "" for root."""
        name, group = self.settings.text("User"), self.settings.text("Group")
        more = list(self.settings.words("SupplementaryGroups"))
        stem = self.files.name.removesuffix(".service")
        account = find_account(self.host, name or stem) if name or self.settings.flag("DynamicUser") else None
        if account is not None:
            name, gid = account.name, account.gid
        elif self.settings.flag("DynamicUser"):
            number = self._dynamic_id(name or stem.partition("@")[0])
            self.settings.warnings.append(f"DynamicUser=: learned as {number}, which need not be the number that it gets")
            name, gid = str(number), number
        elif not name:
            name, gid = "0", 0
        else:
            gid = int(name) if name.isdigit() else -1
        found = find_group(self.host, group) if group else gid
        if gid < 0 or found is None:
            what = f"User={name}" if gid < 0 else f"Group={group}"
            raise UsageError(f"{self.files.name}: {what}: not known on the host", "install its package whole, or say -u USER")
        groups = [str(found) if group.isdigit() or not group else group, *more]
        if found == gid and not more:
            return "" if name == "0" else name if account else f"{name}:{gid}"
        return f"{name}:{','.join(groups)}"

    def _dynamic_id(self, name: str) -> int:
        for key, place, _ in _DIRECTORIES[1:4]:
            for word in self.settings.words(key):
                node = inspect(self.host, JailPath(f"{place}/private/{word.partition(':')[0]}"))
                if node is not None and FIRST <= node.uid <= LAST:
                    return node.uid
        return dynamic_id(name)

    def _manager_environment(self, account: Account | None) -> dict[str, str]:
        """What the manager itself gives. An id that is the same at each run: a manifest knows no other."""
        import hashlib

        found = {"PATH": ":".join(self.settings.words("ExecSearchPath")) or _PATH}
        for path in ("/etc/default/locale", "/etc/locale.conf"):
            text = read_start(self.host, JailPath(path), _LARGEST).decode("utf-8", "surrogateescape")
            found |= {key: value for key, value in environment_file(text).items() if re.fullmatch("LANG|LANGUAGE|LC_[A-Z]+", key)}
        found["INVOCATION_ID"] = hashlib.sha256(os.fsencode(self.files.name)).hexdigest()[:32]
        if account is not None and (self.settings.text("User") or self.settings.flag("DynamicUser")):
            found |= {"USER": account.name, "LOGNAME": account.name}
            if account.home.startswith("/") and account.home.strip("/"):
                found["HOME"] = account.home
            if account.shell.startswith("/") and os.path.basename(account.shell) not in _NO_SHELLS:
                found["SHELL"] = account.shell
        return found

    def _environment(self, passed: Mapping[str, str]) -> dict[str, str]:
        found = {name: passed[name] for name in self.settings.words("PassEnvironment") if name in passed}
        for word in self.settings.words("Environment"):
            name, equals, value = word.partition("=")
            if equals and _VARIABLE.fullmatch(name):
                found.pop(name, None)
                found[name] = value
            else:
                self.settings.warnings.append(f"Environment={name}: not the name and value of a variable")
        for value in self.settings.every("EnvironmentFile"):
            path = expand(value, self.settings.known)
            files = glob(self.host, path.removeprefix("-"))
            if not files and not path.startswith("-"):
                self.settings.warnings.append(f"EnvironmentFile={path}: not there, and systemd would not start it")
            for each in files:
                text = read_start(self.host, JailPath(each), _LARGEST).decode("utf-8", "surrogateescape")
                for name, content in environment_file(text).items():
                    if _VARIABLE.fullmatch(name):
                        found.pop(name, None)
                        found[name] = content
                    else:
                        self.settings.warnings.append(f"{each}: {name}: not the name of a variable")
        return found

    def _unset(self, environment: dict[str, str]) -> None:
        for word in self.settings.words("UnsetEnvironment"):
            name, equals, value = word.partition("=")
            if name in environment and (not equals or environment[name] == value):
                del environment[name]

    def _directories(self, owner: tuple[int, int]) -> tuple[tuple[MadeDirectory, ...], dict[str, str]]:
        made, variables = [], {}
        for key, place, variable in _DIRECTORIES:
            mode, paths = self._mode(key + "Mode", 0o755, 0o7777), []
            for word in self.settings.words(key):
                name, colon, _ = word.partition(":")
                if name.startswith("/") or ".." in name.split("/") or not name.strip("/."):
                    self.settings.warnings.append(f"{key}={word}: not beneath {place}, and passed over")
                    continue
                if colon:
                    self.settings.warnings.append(f"{key}={word}: the link is not made")
                path = JailPath(_normal(f"{place}/{name}"))
                # What is there of a configuration is left as it is, and it is root's where it is made.
                there = inspect(self.host, path) if place == "/etc" else None
                if there is not None:
                    made.append(MadeDirectory(path, there.mode, there.uid, there.gid))
                else:
                    made.append(MadeDirectory(path, mode, *((0, 0) if place == "/etc" else owner)))
                paths.append(path)
            if paths:
                variables[variable] = ":".join(dict.fromkeys(paths))
        return tuple(dict.fromkeys(made)), variables

    def _mode(self, key: str, default: int, most: int) -> int:
        text = self.settings.text(key, f"{default:04o}")
        if text.strip("01234567") or len(text) > 5 or int(text, 8) > most:
            self.settings.warnings.append(f"{key}={text}: not a mode, and taken for {default:04o}")
            return default
        return int(text, 8)

    def _directory(self, account: Account | None, made: tuple[MadeDirectory, ...]) -> str:
        text = self.settings.text("WorkingDirectory", "/")
        path = text.removeprefix("-")
        if path == "~":
            path = account.home if account and account.home else "/root"
        path = _normal(path)
        known = any(f"{each.path}/".startswith(path + "/") for each in made) or inspect(self.host, JailPath(path + "/."))
        return path if known or not text.startswith("-") else "/"

    # --- commands --------------------------------------------------------------------------------------------------

    def _steps(self, key: str, environment: Mapping[str, str]) -> tuple[Step, ...]:
        found = []
        for value in self.settings.every(key):
            try:
                found += [self._step(key, line, environment) for line in commands(value, self.settings.known)]
            except Malformed as error:
                self.settings.warnings.append(f"{key}= is passed over: {error}")
        return tuple(found)

    def _step(self, key: str, line: CommandLine, environment: Mapping[str, str]) -> Step:
        if line.own_name:
            self.settings.warnings.append(f"{key}=@{line.words[0]}: it is not told that its name is {line.own_name}")
        words = substitute(line, environment)
        as_root = line.as_root or (key != "ExecStart" and self.settings.flag("PermissionsStartOnly"))
        return Step((self._program(words[0]), *words[1:]), line.may_fail, as_root)

    def _program(self, word: str) -> str:
        """The path of a program that is named without one, by the manager's own search path."""
        if "/" in word:
            return _normal(word)
        places = list(self.settings.words("ExecSearchPath")) or _PATH.split(":")
        found = (f"{place}/{word}" for place in places if read_start(self.host, JailPath(f"{place}/{word}"), 1))
        return next(found, word)

    def _sockets(self) -> tuple[tuple[str, ...], list[MadeDirectory]]:
        """The addresses of the socket units that the service names, and the directories that are made for them. A unit that
        only bears its name is for another way to start it, by the first client."""
        named = list(self.settings.words("Sockets"))
        for section, key in (("Unit", "Requires"), ("Unit", "Requisite"), ("Unit", "BindsTo"), ("Install", "Also")):
            named += [word for word in self.settings.words(key, section) if word.endswith(".socket")]
        own = {self.files.name, *self.files.aliases, template_of(self.files.name)}
        found: list[str] = []
        made: list[MadeDirectory] = []
        for name in dict.fromkeys(named):
            files = find_unit(self.host, name)
            if files is None:
                self.settings.warnings.append(f"{name}: no such unit in {', '.join(SEARCH)}")
                continue
            socket = settings_of(self.host, files)
            service = socket.text("Service", name.removesuffix(".socket") + ".service", "Socket")
            if name in self.settings.words("Sockets") or (service in own and not socket.flag("Accept", "Socket")):
                more, said = addresses(socket)
                found += more
                made += directories(self.host, socket, more)
                self.settings.warnings += [f"{name}: {line}" for line in said]
        return tuple(dict.fromkeys(found)), made


def _only_confines(section: str, key: str) -> bool:
    if section == "Unit":
        return key.startswith(("Condition", "Assert"))
    known = {*_KNOWN.split(), *_REFUSED, *(row[0] for row in _NOT_DONE)}
    return section == "Service" and key not in known and key.removesuffix("Mode") not in {row[0] for row in _DIRECTORIES}


def _normal(path: str) -> str:
    return os.path.normpath("/" + path.lstrip("/")) if path.startswith("/") else path
