"""The use case `learn --attach`: watch a daemon that runs already, outside any jail, and make a first guess of what it
needs from what it has open and what it asks for from now on. The daemon is never in our way, nor we in its."""

from __future__ import annotations

import collections
import os
import shlex
import time
from dataclasses import dataclass, field, replace

from tracejail.assemble import Keep, Shape, assemble, packages_of, with_packages
from tracejail.build import build_from_manifest, taking_changes
from tracejail.contents import with_digests
from tracejail.errors import InputOutputError, UsageError
from tracejail.guess import Calls, Guess, check_includes, guess
from tracejail.guessed import completed, first_guess, lost_arguments
from tracejail.kernel.running import (
    Identity,
    command_line,
    executed_as,
    identity_of,
    live_thread,
    program_of,
)
from tracejail.manifest import write_manifest
from tracejail.model import Command, EntryType, LearnResult, Manifest, SyscallRecord, TrialOptions
from tracejail.replaceable import check_manifest_place, check_replaceable, read_former
from tracejail.resolve.host import HostRoot, inspect, open_host_root
from tracejail.resolve.policy import harmless
from tracejail.show import Show
from tracejail.snapshot import Members, Root, Snapshot, has_own_mounts, root_of
from tracejail.trace.bystander import Ears, Over
from tracejail.trace.decode import link_of
from tracejail.trace.table import EVENTS, ROWS
from tracejail.trial.outcome import Outcome
from tracejail.trial.target import resolve_on_host, rules_of, scratch_tree
from tracejail.watched import check_process, left_words, need_root, watch_aside, watching_words

_TRIES = 5         # to write down what was seen, while files come and go
_SEARCH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_SETS_IDS = frozenset(row.name for row in ROWS if row.decode in EVENTS and row.name.startswith("set"))
_FINDINGS = 1      # the exit status: nothing is proven


@dataclass(slots=True)
class _Daemon:
    """The process that is watched, as it was found."""

    process: int
    program: str               # the path that it is started by
    argv: tuple[str, ...]      # with the program
    directory: str
    identity: Identity
    title: str                 # what stands in place of its arguments, where it has overwritten them
    root: Root
    host: HostRoot
    snapshot: Snapshot = field(default_factory=Snapshot)


def attach(process: int, root: str, options: TrialOptions, show: Show) -> LearnResult:
    """Watch `process` until it ends, the time is over or a signal comes; write the manifest and build the jail, neither
    proven. `root` is where the files are taken from, "" for the root directory that the process has.

    Raises UsageError, KernelLacksError, InputOutputError.
    """
    began = time.monotonic()
    need_root()
    daemon = _look_at(process, root)
    jail = os.path.abspath(options.jail or os.path.basename(daemon.program) + ".jail")
    manifest_path = os.path.abspath(options.manifest or jail + ".json")
    former = _former(jail, manifest_path, options)
    with scratch_tree() as tree:  # what --include names is to be found wrong now, and not in the end
        check_includes(daemon.host, tree, rules_of(options, frozenset()), options.includes)
    calls = Calls(daemon.root)
    over = _watch(daemon, calls, options.timeout, show)
    daemon.snapshot.take(process, daemon.root)
    show.status("let go of it; writes down what was seen")
    made, manifest = _guess(daemon, calls, jail, options)
    if has_own_mounts(process):
        _compare(daemon, manifest, made.notes)
    if former is not None:
        manifest = completed(former, manifest, daemon.host)
        manifest = _with_digests(daemon.host, manifest)
    manifest = _build(daemon, manifest, manifest_path)
    notes = {**daemon.snapshot.notes, **calls.notes, **made.notes}
    kinds = sorted({note.reason for note in made.ledger.virtual.values()})
    if kinds:
        notes[f"it uses {', '.join(kinds)}, which a jail has by a mount only: learning shows whether it does without"] = None
    return _result(daemon, manifest, manifest_path, over, notes, time.monotonic() - began)


# --- before -------------------------------------------------------------------------------------------------------


def _look_at(process: int, from_root: str) -> _Daemon:
    """Raises UsageError for a process that can't, or must not, be watched."""
    check_process(process, "--attach")
    thread = live_thread(process)
    identity = identity_of(thread)
    try:
        root = Root(link_of(thread, "root"), root_of(thread))
        seen = os.stat(from_root or root.path)
    except OSError:
        root, seen = Root("", (0, 0)), None
    exe = root.inner(program_of(thread))
    if identity is None or not root.path or not program_of(thread):
        raise UsageError(f"process {process}: it has ended just now", "name one that runs")
    if not from_root and (seen is None or (seen.st_dev, seen.st_ino) != root.inode):
        hint = "call tracejail in that container; or --from ROOT, where its files can be seen from here"
        raise UsageError(f"process {process}: its root directory is of another file system, as in a container", hint)
    host = open_host_root(from_root or root.path)
    if not exe or resolve_on_host(host, exe) is None:
        hint = "start it anew from what is there now, or name its root directory with --from"
        raise UsageError(f"process {process}: its program {program_of(thread)} is not there", hint)
    program, argv, title = _command(host, thread, exe)
    directory = root.inner(link_of(thread, "cwd")) or "/"
    daemon = _Daemon(process, program, argv, directory, identity, title, root, host)
    daemon.snapshot.take(process, root)
    return daemon


def _command(host: HostRoot, thread: int, exe: str) -> tuple[str, tuple[str, ...], str]:
    """The path that the process was started by, its arguments with that path, and the title that it has put in their place,
    "" where it has not."""
    words = command_line(thread)
    real = resolve_on_host(host, exe)

    def leads(path: str) -> bool:
        return path.startswith("/") and resolve_on_host(host, path) == real

    first = words[0].lstrip("-") if words else ""
    searched = [f"{directory}/{first}" for directory in _SEARCH] if first and "/" not in first else []
    by_words = next((path for path in (first, *searched) if leads(path)), "")
    known = executed_as(thread)
    if by_words:
        return by_words, (by_words, *words[1:]), ""
    if first and os.path.basename(first) == os.path.basename(exe):
        program = known if leads(known) else exe
        return program, (program, *words[1:]), ""
    in_title = (path for word in words for path in word.split(" "))
    program = next((path for path in (known, *in_title) if leads(path)), exe)
    return program, (program,), " ".join(words).strip()


def _former(jail: str, manifest_path: str, options: TrialOptions) -> Manifest | None:
    if not os.path.isdir(os.path.dirname(jail)):
        raise InputOutputError(f"{os.path.dirname(jail)}: no such directory", "make it, or name another with -j")
    check_manifest_place(manifest_path)
    check_replaceable(jail, manifest_path, options.replace or options.append)
    if not options.append and not os.path.exists(manifest_path):
        return None
    if not options.append and not options.replace:
        raise UsageError(f"{manifest_path}: is there already", "--append adds to it, --replace makes it anew")
    former = read_former(manifest_path)
    if former.clean:
        raise UsageError(
            f"{manifest_path}: is proven, and a first guess is not", "name another place with -j, and see tracejail merge"
        )
    return former if options.append else None


# --- while --------------------------------------------------------------------------------------------------------


def _watch(daemon: _Daemon, calls: Calls, seconds: float, show: Show) -> Over:
    """Raises KernelLacksError, UsageError."""
    lines: collections.deque[str] = collections.deque()
    members = Members(daemon.root)
    name = os.path.basename(daemon.program)

    def heard(record: SyscallRecord) -> None:
        own = members.holds(record)
        if not own:
            calls.notes[f"what {record.program} asks for in a root directory of its own is not in it"] = None
        if record.syscall in _SETS_IDS:
            daemon.snapshot.take_ids(record.thread)
        elif own:
            calls.hear(record)

    def born(process: int) -> None:
        members.forget(process)
        daemon.snapshot.take_ids(process)

    def left(process: int, number: int) -> None:
        calls.notes[left_words(process, number)] = None

    def watching(processes: int, threads: int) -> None:
        lines.append(watching_words(name, processes, threads, seconds))

    def talk() -> None:
        # By a thread that nobody waits for: a terminal may be held by ^S.
        while lines or calls.news:
            if lines:  # looked at once more: that it is watched was there before the first news
                show.warn(lines.popleft())
            else:
                show.say(calls.news.popleft())
        show.status(f"watches {name}: {len(calls.records)} paths asked for")

    ears = Ears(heard, born, left, watching)
    return watch_aside(daemon.process, seconds, daemon.root.path != "/", ears, talk)


# --- after --------------------------------------------------------------------------------------------------------


def _guess(daemon: _Daemon, calls: Calls, jail: str, options: TrialOptions) -> tuple[Guess, Manifest]:
    for last in (False,) * _TRIES + (True,):
        try:
            with scratch_tree() as tree:
                rules = rules_of(options, frozenset())
                made = guess(daemon.host, tree, rules, daemon.argv, options.includes, daemon.snapshot, calls)
            return made, _manifest(daemon, made, calls, jail, options)
        except InputOutputError:
            if last:  # a file that went while it was looked at would have been none a moment later
                raise
    raise AssertionError


def _manifest(daemon: _Daemon, made: Guess, calls: Calls, jail: str, options: TrialOptions) -> Manifest:
    identity = daemon.identity
    command = Command(
        argv=daemon.argv,
        directory=daemon.directory,
        user=f"{identity.uid}:{identity.gid}" if identity.uid else "",
        uid=identity.uid,
        gid=identity.gid,
        groups=tuple(sorted(identity.groups)) if identity.uid else (),
    )
    outcome = Outcome(users=daemon.snapshot.users, groups=daemon.snapshot.groups)
    outcome.listens = {**daemon.snapshot.listens, **calls.listens}
    keep = Keep.ALL if options.accounts == "all" else Keep.USED
    packages = packages_of(daemon.host, made.ledger.entries)
    shape = Shape(command, jail, (), keep, frozenset((identity.uid,)), frozenset((identity.gid, *identity.groups)))
    manifest = assemble(daemon.host, made.ledger, outcome, shape, ())
    manifest = with_packages(daemon.host, manifest, packages())
    warnings = [first_guess(daemon.program)]
    if daemon.title:
        warnings.append(lost_arguments(daemon.title))
    return replace(manifest, written=made.places(), warnings=tuple(sorted(warnings)))


def _with_digests(host: HostRoot, manifest: Manifest) -> Manifest:
    return replace(manifest, entries=tuple(with_digests(host, list(manifest.entries), manifest.accounts)))


def _compare(daemon: _Daemon, manifest: Manifest, notes: dict[str, None]) -> None:
    """In a mount namespace of its own a daemon may see another file than the host has."""
    others = []
    for entry in manifest.entries:
        node = inspect(daemon.host, entry.path) if entry.type is EntryType.FILE else None
        try:
            seen = os.lstat(f"/proc/{live_thread(daemon.process)}/root{entry.path}") if node else None
        except OSError:
            seen = None
        if node and seen and (seen.st_dev, seen.st_ino) != node.inode:
            others.append(entry.path)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        notes[f"it has mounts of its own: {others[0]}{more} is not the file that it sees, but the host's"] = None


def _build(daemon: _Daemon, manifest: Manifest, manifest_path: str) -> Manifest:
    """The manifest, and then the jail, as it may have taken a day to see all this. Gives the manifest of the jail."""

    def once(manifest: Manifest) -> None:
        write_manifest(manifest, manifest_path)  # --replace goes by what it says
        build_from_manifest(manifest, manifest.jail, daemon.host.path, replace=True, known_by=manifest_path)

    return taking_changes(daemon.host, manifest, once)


def _result(
    daemon: _Daemon, manifest: Manifest, manifest_path: str, over: Over, notes: dict[str, None], seconds: float
) -> LearnResult:
    name = os.path.basename(daemon.program)
    where = "" if daemon.host.path == "/" else f"--from {shlex.quote(daemon.host.path)} "
    user = f"-u {manifest.command.user} " if manifest.command.user else ""
    change = f"--chdir {shlex.quote(daemon.directory)} " if daemon.directory != "/" else ""
    words = shlex.join(manifest.command.argv) + (" ARGUMENT..." if daemon.title else "")
    if manifest_path != manifest.jail + ".json":
        where += f"-m {shlex.quote(manifest_path)} "
    hint = f"tracejail learn --append -j {shlex.quote(manifest.jail)} {where}{user}{change}--exercise CMD {words}"
    shown = [note for note in manifest.absent if not harmless(note.path)]
    return LearnResult(
        clean=False,
        status=_FINDINGS,
        rounds=0,
        seconds=seconds,
        manifest=replace(manifest, absent=tuple(shown)),
        manifest_path=manifest_path,
        harmless=tuple(note for note in manifest.absent if harmless(note.path)),
        reason="nothing has been run in this jail; what it read before is not in it",
        hint=f"to prove it, and to learn the rest: {hint}",
        ended=f"{name} was watched until {over.value}",
        notes=tuple(notes),
    )
