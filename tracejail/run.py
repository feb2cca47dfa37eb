"""The use case `run`: a program in its jail with the least privilege. All of the host that it takes is looked up, and all that
may be wrong is refused, before the jail is entered."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tracejail.errors import InputOutputError, NotExecutableError, NotThereError, RunError, UsageError
from tracejail.export.landlock import rules
from tracejail.jail.confine import LIMITS, Confinement
from tracejail.jail.isolate import Isolation
from tracejail.kernel.capabilities import number_of
from tracejail.kernel.paths import IN_ROOT, NO_MAGICLINKS, is_mounted, openat2
from tracejail.model import Manifest
from tracejail.resolve.host import open_host_root
from tracejail.seccomp_profile import read_profile
from tracejail.trial.target import MOUNT_TYPES, find_identity, host_devices
from tracejail.trusted import check_file, open_jail

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SET_ID = 0o6000
_UMASK = 0o077
_UNLIMITED = 1 << 63
# Whose they are says who calls, and not who is to be: a user's shell is no part of a service.
_OF_CALLER = frozenset(("PATH", "HOME", "USER", "LOGNAME", "SHELL", "MAIL", "PWD", "OLDPWD", "LD_PRELOAD", "LD_LIBRARY_PATH"))
_KINDS = {file_system: kind for kind, (file_system, _) in MOUNT_TYPES.items()}
_MOST_SOCKETS = 1024


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `run` is told."""

    argv: tuple[str, ...]
    jail: str
    user: str = ""
    directory: str = "/"
    umask: str = ""
    kept: tuple[str, ...] = ()            # capabilities by name, with or without cap_
    limits: tuple[str, ...] = ()          # NAME=VALUE
    environment: tuple[tuple[str, str], ...] = ()
    allow_root: bool = False
    isolate: bool = False
    private_network: bool = False
    private_processes: bool = False
    mounts: tuple[str, ...] = ()          # proc, sys, devpts
    sockets: tuple[str, ...] = ()         # of the host, that the program talks to
    seccomp: str = ""                     # a profile
    rules: tuple[tuple[str, str], ...] = ()   # of Landlock: what may be done, and where
    written: tuple[str, ...] = ()         # places of the jail
    seen: tuple[str, ...] = ()            # capabilities that the manifest has
    uid: int = -1                         # that the manifest has for the user; -1: none
    notes: tuple[str, ...] = ()           # what is otherwise than the caller may expect


def of_manifest(manifest: Manifest, options: RunOptions, landlock: bool = False) -> RunOptions:
    """What is not said, as the manifest has it: of an environment it has the names, and the caller the values.

    Raises RunError.
    """
    command = manifest.command
    if not command.uid and not options.user and not options.allow_root:
        keeps = f"it keeps {' '.join(manifest.capabilities)}" if manifest.capabilities else "it keeps what --keep-cap names"
        raise RunError(
            "it was learned as root, whom a chroot does not hold",
            f"-u USER, if it can be started as that; or --allow-root, if it changes its user itself: {keeps}",
        )
    own = not options.user or options.user == command.user
    names = {*command.environment} - {name for name, _ in options.environment}
    taken = {} if command.service.unit else {name: os.environ[name] for name in names - _OF_CALLER if name in os.environ}
    lost = sorted(names - {*taken})
    notes = [f"it was learned with {', '.join(lost)} set, whose values are not known: -E gives them"] if lost else []
    if command.ready == "notify" or "NOTIFY_SOCKET" in os.environ:
        notes.append("it can't tell a service manager that it is ready: Type=exec, not Type=notify")
    return replace(
        options,
        argv=options.argv or command.argv,
        jail=options.jail or manifest.jail,
        user=options.user or command.user,
        directory=options.directory if options.directory != "/" else command.directory,
        umask=options.umask or (f"{command.service.umask:o}" if command.service.umask >= 0 else ""),
        kept=options.kept or (command.kept if own else ()),
        seen=manifest.capabilities,
        environment=(*taken.items(), *options.environment),
        mounts=options.mounts or tuple(_KINDS[mount.type] for mount in manifest.mounts),
        sockets=tuple(note.path for note in manifest.sockets),
        written=options.written or tuple(place.path for place in manifest.written),
        rules=tuple(rules(manifest)) if landlock else (),
        uid=command.uid if own and command.user else -1,
        notes=tuple(notes),
    )


def prepare(options: RunOptions) -> tuple[Confinement, int]:
    """All that is to be done, and a descriptor of the jail. Raises RunError."""
    try:
        return _prepare(options)
    except RunError:
        raise
    except (UsageError, InputOutputError) as error:
        raise RunError(error.message, error.hint) from None
    except OSError as error:
        name = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        raise RunError(f"{name}{error.strerror}", "see whether it is there") from None


def _prepare(options: RunOptions) -> tuple[Confinement, int]:
    if not options.argv:
        raise RunError("no program is named", "tracejail run -j DIR -u USER PROGRAM [ARGUMENT...]")
    if not options.jail:
        raise RunError("no jail is named", "name its directory with -j")
    if os.geteuid() != 0:
        raise RunError("only root can enter a jail", "call it as root (sudo); it starts the program as -u USER")
    sockets = _passed_sockets()
    notes = [*options.notes, *_check_descriptors(3 + sockets)]
    host = open_host_root("/")
    if not options.user and not options.allow_root:
        raise RunError("no user is named, and root is not confined by a chroot", "-u USER; or --allow-root, if it must be")
    user = find_identity(host, options.user)
    if not user.uid and not options.allow_root:
        raise RunError(f"{options.user or 'root'} is user 0, which is not confined by a chroot", "another -u; or --allow-root")
    if options.uid not in (-1, user.uid):
        notes.append(f"{options.user} is user {user.uid} here; the jail's files belong to {options.uid}, as the manifest has it")
    jail, root = open_jail(options.jail)
    environment = {"PATH": _PATH, **dict(options.environment)}
    program = _find(root, options.argv[0], environment["PATH"], options.directory)
    _check_program(root, program, user.uid, {user.gid, *user.groups})
    return Confinement(
        jail=jail,
        argv=options.argv,
        program=program,
        environment=tuple(environment.items()),
        directory=options.directory,
        user=options.user or "root",
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        umask=_umask(options.umask),
        kept=_kept(options, user.uid),
        limits=tuple(map(_limit, options.limits)),
        sockets=sockets,
        isolation=_isolation(options, jail, root),
        rules=tuple((frozenset(names.split(",")), path) for names, path in options.rules),
        filter=_filter(options.seccomp),
        notes=tuple(notes),
    ), root


def _filter(path: str) -> bytes:
    if not path:
        return b""
    check_file(path)
    return read_profile(path)


def _kept(options: RunOptions, uid: int) -> tuple[int, ...]:
    """What was named; else what the manifest has: of a program that does not begin as root the ports alone, for what makes others
    of root makes root of it."""
    if options.kept == ("none",):
        return ()
    seen = options.seen if not uid else tuple(name for name in options.seen if name == "net_bind_service")
    return tuple(dict.fromkeys(map(_capability, options.kept or seen)))


def _find(root: int, word: str, search: str, directory: str) -> str:
    if "/" in word:
        return word if word.startswith("/") else os.path.normpath(os.path.join(directory, word))
    for place in search.split(":"):
        path = f"{place.rstrip('/')}/{word}"
        if place.startswith("/") and _opened(root, path) is not None:
            return path
    raise NotThereError(f"{word}: is in no directory of PATH ({search}) in the jail", "name its full path, or give -E PATH=...")


def _opened(root: int, path: str) -> int | None:
    try:
        return openat2(root, path, os.O_PATH | os.O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS)
    except OSError:
        return None


def _check_program(root: int, path: str, uid: int, groups: set[int]) -> None:
    found = _opened(root, path)
    if found is None:
        raise NotThereError(f"{path}: is not in the jail", "tracejail doctor -j DIR says what else it lacks")
    top = os.fstat(root)
    if uid and not top.st_mode & (0o010 if top.st_gid in groups else 0o001):
        raise NotExecutableError(f"the jail's root directory: user {uid} may not enter it (mode {top.st_mode & 0o7777:04o})",
                                 "chmod go+x, of the jail's directory")
    status = os.fstat(found)
    if not stat.S_ISREG(status.st_mode):
        raise NotExecutableError(f"{path}: is no regular file", "name a program")
    shift = 6 if status.st_uid == uid else 3 if status.st_gid in groups else 0
    may = status.st_mode & 0o111 if uid == 0 else status.st_mode >> shift & 1
    if not may:
        raise NotExecutableError(f"{path}: user {uid} may not execute it (mode {status.st_mode & 0o7777:04o})", "see chmod(1)")
    if status.st_mode & _SET_ID:
        raise RunError(f"{path}: is set-user-ID or set-group-ID", f"chmod ug-s {path}, in the jail: it is to gain nothing")
    if _has_capabilities(found):
        raise RunError(f"{path}: has capabilities of its own (setcap(8))", f"setcap -r {path}, in the jail; --keep-cap gives one")
    os.close(found)


def _has_capabilities(found: int) -> bool:
    try:
        return bool(os.getxattr(f"/proc/self/fd/{found}", "security.capability"))
    except OSError:
        return False


def _isolation(options: RunOptions, jail: str, root: int) -> Isolation | None:
    wanted = tuple(MOUNT_TYPES[name] for name in dict.fromkeys(options.mounts))
    sockets = tuple(_reachable(root, options.sockets))
    if not options.isolate:
        if options.private_network or options.private_processes:
            raise UsageError("a network or processes of its own are made with --isolate alone", "add --isolate")
        wanted = tuple((kind, path) for kind, path in wanted if not is_mounted(root, path))
        return Isolation(shut=False, mounts=wanted, sockets=sockets) if wanted or sockets else None
    for path in options.written:
        if path == "/":
            raise UsageError("/, to be written: that is all of the jail", "name the places that it writes to; or no --isolate")
        if not path.startswith("/") or _opened(root, path) is None:
            raise UsageError(f"{path}, to be written: is not in the jail", "name a directory as seen from the jail's root")
    devices = tuple(row for row in host_devices(open_host_root("/")) if os.path.lexists(jail + row[1]))
    return Isolation(
        network=options.private_network, processes=options.private_processes, written=options.written, devices=devices,
        mounts=wanted, sockets=sockets,
    )


def _reachable(root: int, paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Sockets that the host has, and that have a file in the jail to be bound onto: one that is no socket itself."""
    for path in paths:
        place = _opened(root, path)
        if place is None:
            continue
        source = os.path.realpath(path)
        if not stat.S_ISSOCK(os.fstat(place).st_mode) and os.path.exists(source) and stat.S_ISSOCK(os.stat(source).st_mode):
            yield source, path
        os.close(place)


def _umask(text: str) -> int:
    if not text:
        return _UMASK
    if not text.isascii() or not text.isdigit() or any(digit > "7" for digit in text) or int(text, 8) > 0o777:
        raise UsageError(f"--umask {text}: no octal number up to 777", "as 077")
    return int(text, 8)


def _capability(name: str) -> int:
    number = number_of(name)
    if number is None:
        raise UsageError(f"--keep-cap {name}: no such capability", "capabilities(7) has them, as net_bind_service")
    return number


def _limit(word: str) -> tuple[str, int]:
    name, _, text = word.partition("=")
    if name not in LIMITS:
        raise UsageError(f"--limit {word}: no such limit", f"one of {' '.join(sorted(LIMITS))}")
    if text == "infinity":
        return name, -1
    digits, size = (text[:-1], _SIZES[text[-1:]]) if text[-1:] in _SIZES else (text, 1)
    if not digits.isascii() or not digits.isdigit() or int(digits) * size >= _UNLIMITED:
        raise UsageError(f"--limit {word}: no number", f"as {name}=64, 512M or infinity")
    return name, int(digits) * size


def _check_descriptors(count: int) -> Iterator[str]:
    """The first ones, which it gets: one that is closed would be taken by the next file, a directory is a way out, and of a
    terminal that another job has it would read what is typed for that. Gives what was done about it."""
    with contextlib.suppress(OSError):
        if os.tcgetpgrp(0) != os.getpgrp():
            os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), 0)
            yield "its standard input is empty: another job has the terminal"
    for number in range(count):
        try:
            kind = os.fstat(number).st_mode
        except OSError:
            made = os.open(os.devnull, os.O_RDWR)   # the lowest number that is free: mostly the very one
            os.dup2(made, number)
            if made != number:
                os.close(made)
            os.set_inheritable(number, True)
            continue
        if stat.S_ISDIR(kind):
            raise RunError(f"descriptor {number} is a directory, by which it could leave the jail", f"{number}</dev/null")


def _passed_sockets() -> int:
    """How many sockets a service manager passed to this very process, sd_listen_fds(3)."""
    number = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not number.isascii() or not number.isdigit():
        return 0
    return min(int(number), _MOST_SOCKETS)
