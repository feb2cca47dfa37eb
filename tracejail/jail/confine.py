"""Becoming a program in a jail with the least that it needs: each step as it is told, and as it is done. All that needs a file of
the host is known before the first step; from the new root on nothing is loaded or looked up until the privileges are gone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tracejail.errors import NotExecutableError, NotThereError, RunError
from tracejail.kernel import capabilities, landlock, letting_go, seccomp
from tracejail.kernel.paths import IN_ROOT, NO_MAGICLINKS, openat2

from .isolate import Isolation, isolate, words

_FIRST_SOCKET = 3   # sd_listen_fds(3)
LIMITS = {
    name.removeprefix("RLIMIT_").lower(): number for name, number in vars(resource).items() if name.startswith("RLIMIT_")
}


@dataclass(frozen=True, slots=True)
class Confinement:
    """How a program is started in a jail. `sockets` descriptors from 3 on are passed on to it."""

    jail: str
    argv: tuple[str, ...]
    program: str                       # path in the jail
    environment: tuple[tuple[str, str], ...]
    directory: str
    user: str                          # as it was named
    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int
    kept: tuple[int, ...] = ()         # capabilities
    limits: tuple[tuple[str, int], ...] = ()   # name in LIMITS, and the value of both limits; -1 for none
    sockets: int = 0
    isolation: Isolation | None = None # None: a chroot alone
    rules: tuple[tuple[frozenset[str], str], ...] = ()   # what may be done where; () for all that file modes allow
    filter: bytes = b""                # packed seccomp filter
    notes: tuple[str, ...] = ()        # what is otherwise than the caller may expect


def steps(plan: Confinement) -> Iterator[str]:
    """What is done, a line each, in the order in which it is done."""
    passed = f", and {plan.sockets} sockets that the service manager passed" if plan.sockets else ""
    yield f"close all descriptors but 0, 1 and 2{passed}"
    yield "leave the terminal: a session of its own"
    yield "leave the keyring of the session: a new one, empty"
    for name, value in plan.limits:
        yield f"limit {name} to {'infinity' if value < 0 else value}"
    yield f"umask {plan.umask:03o}"
    if plan.isolation is not None:
        yield from words(plan.isolation)
    way = "chroot" if plan.isolation is None else "pivot_root"
    yield f"{way} {plan.jail}, chdir {plan.directory}"
    yield f"groups {' '.join(map(str, plan.groups)) or '(none)'}, gid {plan.gid}, uid {plan.uid} ({plan.user})"
    kept = ", ".join(f"cap_{capabilities.NAMES[number]}" for number in plan.kept) or "none"
    yield f"capabilities: {kept}, in all five sets"
    yield "no_new_privs: no program that it executes gains anything"
    if plan.rules:
        yield f"landlock: {len(plan.rules)} rules of what it may do with which file, and nothing else"
    if plan.filter:
        yield f"seccomp: a filter of {len(plan.filter) // 8} instructions"
    names = " ".join(sorted(name for name, _ in plan.environment)) or "(empty)"
    yield f"environment: {names}"
    yield f"execute {plan.program}"


def become(plan: Confinement, root: int, spared: int | None = None) -> list[str]:
    """Do all of it but the last step, in this process; `root` is a descriptor of the jail, `spared` one that stays open until the
    last step, as number `spare`. Gives what could not be done and is no reason to stop. Raises RunError: it must not go on."""
    left: list[str] = []
    sys.meta_path.clear()   # nothing is imported from here on: it would come from the jail
    sys.excepthook = _say_no_more
    try:
        inner = _let_go_of_files(plan, root, spared)
        letting_go.leave_terminal()
        letting_go.forget_inherited()
        try:
            letting_go.leave_keyring()
        except OSError as error:
            left.append(f"the keyring of the session stays: {os.strerror(error.errno or 0)}")
        for name, value in plan.limits:
            _limit(name, value)
        os.umask(plan.umask)
        if plan.isolation is None:
            os.fchdir(inner)
            os.chroot(".")
        else:
            isolate(plan.isolation, plan.jail)
        os.close(inner)
        rules = _rules(plan, left)
        top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _let_go(plan)
        _chdir(top, plan.directory)
        os.close(top)
        for each in (rules, _scoped(plan, left)):
            if each is not None:
                landlock.restrict(each)
                os.close(each)
    except OSError as error:
        raise RunError(f"{error.strerror or error}: {plan.program} is not started", "tracejail run -n shows the steps") from None
    left += _still_has(plan)
    return left


def execute(plan: Confinement) -> None:
    """The last step; it does not return. Raises NotThereError, NotExecutableError."""
    environment = {os.fsencode(name): os.fsencode(value) for name, value in plan.environment}
    if plan.sockets:
        environment[b"LISTEN_PID"] = b"%d" % os.getpid()
        environment[b"LISTEN_FDS"] = b"%d" % plan.sockets
    _forget_signals()
    try:
        if plan.filter:
            seccomp.install(plan.filter, privileged=True)   # or not: no_new_privs is set
    except OSError as error:
        raise RunError(f"{error.strerror}: {plan.program} is not started", "see the filter of --seccomp") from None
    try:
        os.execve(plan.program, [os.fsencode(word) for word in plan.argv], environment)
    except OSError as error:
        kind = NotThereError if error.errno in (errno.ENOENT, errno.ENOTDIR) else NotExecutableError
        raise kind(
            f"{plan.program}: {os.strerror(error.errno or 0)}",
            f"tracejail doctor -j {plan.jail} -u {plan.user} {plan.program} says why",
        ) from None


def _rules(plan: Confinement, left: list[str]) -> int | None:
    """Made while all files can be reached; a descriptor of them."""
    if not plan.rules:
        return None
    known = landlock.version()
    if not known:
        left.append("landlock: this kernel has none, or it is switched off")
        return None
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made, lost = landlock.ruleset(root, plan.rules, known)
    os.close(root)
    if lost:
        left.append(f"landlock: {lost} of {len(plan.rules)} files of the manifest are not in the jail")
    return made


def _scoped(plan: Confinement, left: list[str]) -> int | None:
    """Rules by which it reaches no process outside; a descriptor of them."""
    if plan.isolation is None or not plan.isolation.shut:
        return None
    if landlock.version() >= landlock.SCOPES:
        return landlock.scoped()
    if not plan.isolation.network:
        left.append("abstract sockets of the machine can be reached: this kernel can't tell them apart (--net private)")
    if not plan.isolation.processes:
        left.append(f"other processes of user {plan.uid} can be reached: this kernel can't tell them apart (--own-processes)")
    return None


def _let_go_of_files(plan: Confinement, root: int, spared: int | None) -> int:
    """All descriptors but those of the program, of the jail, and the one that is spared; gives that of the jail."""
    first = _FIRST_SOCKET + plan.sockets
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, first + 2) for each in (root, spared) if each is not None]
    for number, each in enumerate(high, first):
        os.dup2(each, number, inheritable=False)
    letting_go.close_from(first + len(high))
    return first


def spare(plan: Confinement) -> int:
    """The number of the descriptor that `become` spares."""
    return _FIRST_SOCKET + plan.sockets + 1


def _say_no_more(kind: type[BaseException], error: BaseException, _: object) -> None:
    """In place of a traceback, for which files would be looked for, and read, in the jail."""
    os.write(2, f"tracejail: {kind.__name__}: {error!a}; please report it\n".encode())


def _forget_signals() -> None:
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _limit(name: str, value: int) -> None:
    both = resource.RLIM_INFINITY if value < 0 else value
    try:
        resource.setrlimit(LIMITS[name], (both, both))
    except (OSError, ValueError):
        raise OSError(errno.EPERM, f"limit {name} can't be set to {value}") from None


def _chdir(root: int, directory: str) -> None:
    """As the user, and over no link of proc's: whoever owns a directory on the way could make one, and be outside."""
    try:
        found = openat2(root, directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS)
        os.fchdir(found)
        os.close(found)
    except OSError as error:
        raise OSError(error.errno, f"{directory}, the working directory in the jail: {os.strerror(error.errno or 0)}") from None


def _let_go(plan: Confinement) -> None:
    """Users and capabilities, in the order in which there is still the power for the next of them."""
    os.setgroups(plan.groups)
    os.setresgid(plan.gid, plan.gid, plan.gid)
    capabilities.limit_bounding({*plan.kept})
    capabilities.keep_over_change(bool(plan.kept))
    os.setresuid(plan.uid, plan.uid, plan.uid)
    capabilities.have_only({*plan.kept})
    letting_go.gain_nothing()


def _still_has(plan: Confinement) -> list[str]:
    """Read back: nothing is believed that the kernel does not say itself. Raises RunError."""
    users, groups = os.getresuid(), os.getresgid()
    if set(users) != {plan.uid} or set(groups) != {plan.gid} or sorted(os.getgroups()) != sorted({*plan.groups}):
        raise RunError(f"user {users}, group {groups}, groups {os.getgroups()}: not what was asked for", "please report it")
    more = capabilities.anywhere() - {*plan.kept}
    if more:
        raise RunError(f"capabilities are left: {', '.join(capabilities.NAMES[n] for n in sorted(more))}", "please report it")
    return []
