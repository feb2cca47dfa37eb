"""The use case `doctor --pid`: a process that runs already, in a root directory of its own, is looked at and listened to.
Neither it nor its root is changed, and it is let go unharmed."""

from __future__ import annotations

import collections
import os
import time
from dataclasses import dataclass, replace

from tracejail.diagnose import Diagnosis, judge, search_of, told_mounts
from tracejail.doctor.facts import Facts, RunFacts
from tracejail.doctor.held import Held
from tracejail.errors import UsageError
from tracejail.exercising import Exercising, check_steps
from tracejail.holdings import Logs, held_by, opaque
from tracejail.kernel.running import (
    Identity,
    command_line,
    environment_of,
    family_of,
    identity_of,
    is_there,
    listens_of,
    live_thread,
    name_of,
    program_of,
)
from tracejail.model import HostPath, PathArgument, SyscallRecord, TrialOptions, Want
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.resolve.policy import harmless, secret
from tracejail.show import Show
from tracejail.snapshot import Members, Root, has_own_mounts, opaque_words, root_of
from tracejail.trace.bystander import Ears
from tracejail.trace.decode import link_of
from tracejail.trial.mounted import mounts_of
from tracejail.trial.outcome import end_words, exit_status
from tracejail.views import View
from tracejail.watched import check_process, left_words, need_root, watch_aside, watching_words
from tracejail.witness import Notebook

SECONDS = 10.0     # that it is watched, where nothing else is said
_DELETED = " (deleted)"
_TOLD = frozenset((128 + 2, 128 + 9, 128 + 15))   # SIGINT, SIGKILL, SIGTERM: it was told to end


@dataclass(frozen=True, slots=True)
class _Daemon:
    """The process that is looked at, as it was found."""

    process: int
    program: str           # as seen from its root, or from the host where it lies outside of that
    identity: Identity
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    directory: str
    root: Root
    files: HostRoot        # its root directory, whatever becomes of the process

    @property
    def jail(self) -> str:
        """The path by which its root is to be had here."""
        return self.files.path


def attend(process: int, options: TrialOptions, show: Show, static: bool = False) -> tuple[Diagnosis, str]:
    """Watch `process` for `options.timeout` seconds (0: until it is told to end), or (`static`) only look at what it holds.
    Gives the path of its root directory beside.

    Raises UsageError, KernelLacksError.
    """
    began = time.monotonic()
    need_root()
    check_process(process, "--pid")
    check_steps(process, options)
    daemon = _look_at(process)
    host = open_host_root(options.host_root)
    before = held_by(process, daemon.root, daemon.files.fd)
    place = daemon.root.path if daemon.root.path != "/" else "a root directory, or mounts, of its own"
    serves = f"runs still, as process {process} in {place}"
    run = RunFacts((), serves, True, listens=tuple(listens_of(process)), listened=not static)
    notes: dict[str, None] = {}
    if not static:
        run, notes = _watch(daemon, options, show, run)
    held = _both(before, held_by(process, daemon.root, daemon.files.fd)) if is_there(process) else before
    facts = replace(_facts(daemon, host), run=run, held=held)
    return replace(judge(facts, time.monotonic() - began), notes=tuple(notes)), daemon.jail


def _both(before: Held, after: Held) -> Held:
    """What it holds now, and the services that it had lost before it noticed."""
    return replace(after, talks=(*before.talks, *after.talks))


# --- before -------------------------------------------------------------------------------------------------------


def _look_at(process: int) -> _Daemon:
    """Raises UsageError where it is in no jail."""
    thread = live_thread(process)
    identity = identity_of(thread)
    try:
        link = os.readlink(f"/proc/{thread}/root")
        root = Root(link.removesuffix(_DELETED), root_of(thread))
        files = os.open(f"/proc/{thread}/root/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        identity = None
    exe = program_of(thread)
    if identity is None or not exe:
        raise UsageError(f"process {process}: it has ended just now", "name one that runs")
    if _is_ours(thread, root):
        raise _no_jail(process, root)
    words = command_line(thread)
    if len(words) == 1:
        words = tuple(words[0].split(" "))  # it has written a title over its arguments, in which they may be
    return _Daemon(
        process,
        root.inner(exe) or exe,
        identity,
        words or (exe,),
        environment_of(thread),
        root.inner(link_of(thread, "cwd")) or "/",
        root,
        HostRoot(HostPath(_path_to(root, process)), files),
    )


def _path_to(root: Root, process: int) -> str:
    own = f"/proc/{process}/root"
    try:
        seen = os.stat(root.path)
    except OSError:
        return own
    return own if has_own_mounts(process) or (seen.st_dev, seen.st_ino) != root.inode else root.path


def _is_ours(process: int, root: Root) -> bool:
    own = os.stat("/")
    return root.path == "/" and root.inode == (own.st_dev, own.st_ino) and not has_own_mounts(process)


def _no_jail(process: int, root: Root) -> UsageError:
    """The master of a daemon is often outside, and its workers inside."""
    inside = [each for each in family_of(process) if not root.holds(each) or link_of(each, "root") not in ("", root.path)]
    hint = "learn --attach gathers what it uses; doctor -j DIR PROGRAM looks at a jail"
    if inside:
        hint = f"its process {inside[0]} ({name_of(inside[0])}) is in {link_of(inside[0], 'root') or 'one'}: --pid {inside[0]}"
    return UsageError(f"process {process} ({name_of(process)}) is not in a jail: its root directory is that of the host", hint)


def _facts(daemon: _Daemon, host: HostRoot) -> Facts:
    lines = mounts_of(daemon.process, daemon.files.fd, "" if daemon.jail.startswith("/proc/") else daemon.jail)
    return Facts(
        jail=View(daemon.files),
        host=View(host),
        argv=daemon.argv,
        program=daemon.program,
        uid=daemon.identity.uid,
        gid=daemon.identity.gid,
        groups=daemon.identity.groups,
        search=search_of(dict(daemon.environment)),
        environment=daemon.environment,
        directory=daemon.directory,
        machine=os.uname().machine.replace("_", "-"),
        mounts=told_mounts(lines, daemon.jail),
        harmless=harmless,
        secret=secret,
    )


# --- while --------------------------------------------------------------------------------------------------------


def _watch(daemon: _Daemon, options: TrialOptions, show: Show, run: RunFacts) -> tuple[RunFacts, dict[str, None]]:
    """Raises KernelLacksError, UsageError."""
    notes: dict[str, None] = {}
    book, members, logs = Notebook(), Members(daemon.root), Logs()
    lines: collections.deque[str] = collections.deque()
    ends: dict[int, int] = {}
    name = os.path.basename(daemon.program)
    driving = Exercising(daemon.process, options)

    def heard(record: SyscallRecord) -> None:
        driving.heard()
        if members.holds(record):
            seen = _from_root(record, daemon.root)
            if seen is not None:
                book.call(seen, driving.phase)
        else:
            notes[f"what {record.program} asks for in a root directory of its own was not looked at"] = None

    def ended(process: int, status: int) -> None:
        ends[process] = status
        book.ended(process, status)

    def left(process: int, number: int) -> None:
        notes[left_words(process, number)] = None

    def watching(processes: int, threads: int) -> None:
        lines.append(watching_words(name, processes, threads, options.timeout))
        driving.ready = True

    def meanwhile() -> None:
        while lines:
            show.warn(lines.popleft())
        driving.go_on()
        show.status(f"watches {name}: {book.heard} calls heard")

    logs.follow(daemon.process)
    if ring := opaque(daemon.process):
        notes[opaque_words(ring)] = None
    try:
        ears = Ears(heard, members.forget, left, watching, ended, heard)
        watch_aside(daemon.process, options.timeout, daemon.root.path != "/", ears, meanwhile)
    finally:
        driving.end()
    logs.follow(daemon.process, from_start=True)
    said = logs.said()
    status = ends.get(daemon.process)
    if status is not None:
        run = replace(run, words=f"{end_words(status)} while it was watched", listens=())
    notes.update(driving.notes)
    healthy = not driving.failure and (status is None or exit_status(status) in (0, *_TOLD))
    calls = tuple(sorted(book.calls.values(), key=lambda call: call.order))
    return replace(
        run, calls=calls, healthy=healthy, failure=driving.failure, log=said, exercise=driving.said, ends=tuple(book.ends),
        clipped=book.clipped,
    ), notes


def _from_root(record: SyscallRecord, root: Root) -> SyscallRecord | None:
    """A call with its paths as seen from that root; None where one of them starts outside of it."""
    arguments = []
    for argument in record.arguments:
        spelled, base = argument.spelled, root.inner(argument.base)
        if argument.want is Want.LIST:  # the path of a descriptor, and not one that it spells
            spelled = root.inner(spelled)
        if not base and not spelled.startswith("/"):
            return None
        arguments.append(PathArgument(spelled, base, root.inner(argument.root) or "/", argument.want, argument.follow))
    return replace(record, program=root.inner(record.program) or record.program, arguments=tuple(arguments))
