"""The use case `update`: a jail and its manifest brought to what the host has now.

In this order: an update that was killed is finished; the jail is looked at; the manifest is renewed; all that comes in is
made ready beside the jail; it is proven in a copy, if that is asked for; the changes are committed, done, and the manifest
is put in its place last. Before the commit nothing of the jail has changed, after it a kill is made good by the next call.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tracejail.changes import Action, Change, Plan, plan_changes, steps_of, to_stage
from tracejail.committed import AFTER, BEFORE, carry_out, file_errors, finish, locked
from tracejail.contents import contents_of, times_of
from tracejail.drift.nouns import Drift, Kind, Upgrade
from tracejail.drift.stamps import Stamps
from tracejail.errors import SourceChangedError, TracejailError, UsageError
from tracejail.jail.build import populate
from tracejail.jail.copy import copy_tree
from tracejail.jail.journal import (
    JOURNAL,
    Journal,
    Step,
    copy_in,
    keep_all,
    write_journal,
)
from tracejail.jail.remove import remove_tree
from tracejail.jail.staging import Staging
from tracejail.jail.tree import Tree, open_tree
from tracejail.jail.upkeep import NEXT, PENDING, Upkeep, clear, folder, is_pending, make_folder, move, settle
from tracejail.looking import Look
from tracejail.manifest import pieces, read_manifest
from tracejail.model import Entry, LearnResult, Manifest
from tracejail.needs import Needs
from tracejail.remembered import recall, remember
from tracejail.renewal import Renewed, dependents, renewed
from tracejail.replaceable import read_former
from tracejail.resolve.host import HostRoot
from tracejail.restarts import Restart, to_restart
from tracejail.status import Hosts, look_at, needed, opened_jail, upgrades

_TRIES = 5   # of an update whose sources change while they are copied

# A run of the manifest's command in the jail at a path.
Prove = Callable[[Manifest, str], LearnResult]


@dataclass(frozen=True, slots=True)
class Wish:
    """What an update is told. `prove` is None where nothing is to be proven."""

    jail: str = ""
    host_root: str = ""
    full: bool = False
    force: bool = False
    dry: bool = False
    prove: Prove | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What was done at a path; with its package, and the version of that before and after."""

    path: str
    action: Action
    package: str = ""
    version: str = ""
    now: str = ""


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update came to: `done` was done (or, in a dry run, would be), `kept` was not. `error` as of a report."""

    manifest: str
    jail: str = ""
    entries: int = 0
    done: tuple[Done, ...] = ()
    renewed: bool = False            # the manifest was
    kept: tuple[Drift, ...] = ()
    packages: tuple[Upgrade, ...] = ()
    restart: tuple[Restart, ...] = ()
    finished: bool = False           # an update that had been killed
    proof: LearnResult | None = None
    error: str = ""
    hint: str = ""
    status: int = 0
    seconds: float = 0.0


def update(path: str, wish: Wish, hosts: Hosts) -> Updated:
    """Bring one jail over. Raises TracejailError: nothing was changed then."""
    began = time.monotonic()
    path = os.path.abspath(path)
    jail = place_of_jail(path, read_former(path), wish.jail)
    if wish.dry:
        with opened_jail(jail) as fd:
            done = _dry(path, jail, fd, wish, hosts)
        return replace(done, seconds=time.monotonic() - began)
    with locked(jail) as (stage, at):
        finished = finish(at, path)
        for tries in range(_TRIES):
            try:
                done = _bring_over(path, stage, at, wish, hosts)
                break
            except SourceChangedError:
                if tries == _TRIES - 1:
                    raise
                hosts = Hosts()   # a package manager is at work
        return replace(done, finished=finished, seconds=time.monotonic() - began)


def place_of_jail(path: str, manifest: Manifest, wanted: str) -> str:
    """Where the jail is that a manifest is renewed with, whatever names lead there. Raises UsageError: it is of another jail."""
    own, other = os.path.realpath(manifest.jail), os.path.realpath(wanted or manifest.jail)
    if own != other and os.path.isdir(own):
        cause = f"-j {wanted}: {path} is the manifest of {manifest.jail}, which is there, and would no longer fit that"
        raise UsageError(cause, "give the other jail a manifest of its own: a copy whose \"jail\" says where it is")
    return other


# --- the way there ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Way:
    """What was found, and what is to be done about it."""

    found: Look
    host: HostRoot
    new: Renewed
    plan: Plan
    packages: tuple[Upgrade, ...]

    @property
    def renews(self) -> bool:
        return self.new.manifest != self.found.manifest

    @property
    def kept(self) -> tuple[Drift, ...]:
        return (*self.new.kept, *self.plan.kept)

    @property
    def done(self) -> tuple[Done, ...]:
        return tuple(_done(change) for change in self.plan.changes)


def _way(path: str, jail: str, fd: int, wish: Wish, hosts: Hosts, known: Stamps) -> _Way:
    manifest = read_former(path)
    root = wish.host_root or manifest.host.root
    found = look_at(path, manifest, known, fd, jail, root, wish.full, hosts)
    host = hosts.open(root)
    if not found.rows and not found.touched:
        return _Way(found, host, Renewed(manifest, (), Needs()), Plan((), ()), ())
    owners = hosts.owners(root, (entry.path for entry in manifest.entries))
    hold: dict[str, Drift] = {}
    while True:
        new = renewed(found, host, owners, hold, wish.force)
        plan = plan_changes(found, new.manifest, open_tree(fd, jail), new.needs.rows, wish.force, hold)
        # What stays as it is stays so in the manifest, and so does what is of no use without it.
        more = {path: row for path, row in {**new.held, **plan.held}.items() if path not in hold}
        for path in sorted(dependents(more, new.needs) - more.keys() - hold.keys()):
            more[path] = Drift(path, Kind.PATCHED, "the old one is kept, as what the new one needs can't be put into the jail")
        if not more:
            break
        hold |= more
    if new.manifest.entries == manifest.entries:
        new = replace(new, manifest=manifest)   # another name of the distribution alone is no reason
    return _Way(found, host, new, plan, upgrades([*found.rows, *needed(host, found)]))


def _dry(path: str, jail: str, fd: int, wish: Wish, hosts: Hosts) -> Updated:
    if is_pending(jail):
        return interrupted(path, jail, read_former(path))
    way = _way(path, jail, fd, wish, hosts, recall(path))
    return Updated(
        path, jail, len(way.new.manifest.entries), way.done, way.renews, way.kept, way.packages, status=1 if way.kept else 0
    )


def interrupted(path: str, jail: str, manifest: Manifest) -> Updated:
    """Of a jail that is half of one state and half of another nothing else can be told."""
    row = Drift("", Kind.INTERRUPTED, f"an update was killed here: tracejail update {path} finishes it")
    return Updated(path, jail, len(manifest.entries), kept=(row,), status=1)


def _bring_over(path: str, stage: Staging, at: Upkeep, wish: Wish, hosts: Hosts) -> Updated:
    way = _way(path, at.jail, at.root, wish, hosts, recall(path))
    if not way.renews and not way.plan.changes:
        remember(path, way.found.stamps)
        return Updated(path, at.jail, len(way.found.manifest.entries), kept=way.kept, status=1 if way.kept else 0)
    tree = open_tree(at.root, at.jail)
    proof = None
    try:
        steps = _make_ready(at, tree, way, path)
        if wish.prove is not None:
            proof = _prove(stage, at, steps, way.new.manifest, wish.prove)
            if proof.status:
                return Updated(
                    path, at.jail, len(way.found.manifest.entries), kept=way.kept, packages=way.packages, proof=proof,
                    status=proof.status,
                )
        with file_errors(at.jail):
            settle(at.fd)
            move(at, NEXT, PENDING)
    finally:
        with contextlib.suppress(OSError):
            clear(at, NEXT)
    carry_out(at, path)
    restart = to_restart(at.jail, {step.was: step.path for step in steps if step.was})
    _look_again(path, at, wish, way)
    return Updated(
        path, at.jail, len(way.new.manifest.entries), way.done, way.renews, way.kept, way.packages, tuple(restart),
        proof=proof, status=1 if way.kept else 0,
    )


def _make_ready(at: Upkeep, tree: Tree, way: _Way, path: str) -> list[Step]:
    """All that comes in, second names for what goes out, both manifests and the journal. Raises InputOutputError."""
    new = way.new.manifest
    with file_errors(at.jail):
        make_folder(at, NEXT)
        with folder(at, NEXT) as fd:
            steps, names = steps_of(way.plan.changes, tree, times_of(way.host))
            _copy(fd, at, way, names)
            steps = [replace(step, inode=_inode(fd, step.staged)) if step.staged else step for step in steps]
            keep_all(tree, fd, steps)
            before, after = (_write(fd, name, one) for name, one in ((BEFORE, way.found.manifest), (AFTER, new)))
            if before == after:
                after = ""
            write_journal(fd, JOURNAL, Journal(os.fstat(at.root).st_ino, path, tuple(steps), before if after else "", after))
    return steps


def _inode(fd: int, name: str) -> int:
    return os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino


def _copy(fd: int, at: Upkeep, way: _Way, names: dict[str, str]) -> None:
    new = way.new.manifest
    original: dict[str, Entry] = {f"/{name}": change.entry for change in way.plan.changes if (name := names.get(change.path))}
    give, times = contents_of(way.host, new.entries, new.accounts), times_of(way.host)
    staged = to_stage(way.plan.changes, names)
    try:
        populate(
            open_tree(fd, at.jail), staged.values(), lambda entry: give(original[entry.path]),
            lambda entry: times(original[entry.path]),
        )
    except SourceChangedError as error:
        place = original[error.path].path
        cause = error.message.replace(error.path, place, 1)
        raise SourceChangedError(place, cause, "it is being written: call it again") from None


def _write(fd: int, name: str, manifest: Manifest) -> str:
    """A manifest into the journal's directory; its SHA-256. Raises OSError."""
    text = "".join(pieces(manifest)).encode()
    part = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
    with open(part, "wb") as stream:
        stream.write(text)
    return hashlib.sha256(text).hexdigest()


def _prove(stage: Staging, at: Upkeep, steps: list[Step], manifest: Manifest, prove: Prove) -> LearnResult:
    """A run in a copy of the jail as it is to be. Raises TracejailError."""
    with file_errors(at.jail):
        remove_tree(stage.fd, "root")
        os.mkdir("root", 0o755, dir_fd=stage.fd)
        root = os.open("root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=stage.fd)
        try:
            copy_tree(at.root, open_tree(root, "the copy: "), {entry.path: entry for entry in manifest.entries})
            with folder(at, NEXT) as fd:
                copy_in(fd, root, steps)
        finally:
            os.close(root)
    place = f"{os.path.dirname(at.jail).rstrip('/')}/{stage.name}/root"
    try:
        return prove(manifest, place)
    finally:
        remove_tree(stage.fd, "root")


def _look_again(path: str, at: Upkeep, wish: Wish, way: _Way) -> None:
    """Remember what is there now, so that the next status is quick."""
    with contextlib.suppress(TracejailError):
        manifest = read_manifest(path)
        found = look_at(path, manifest, way.found.stamps, at.root, at.jail, wish.host_root or manifest.host.root, False, Hosts())
        remember(path, found.stamps)


def _done(change: Change) -> Done:
    entry, before = change.entry, change.before
    now = "" if change.action is Action.REMOVE else entry.version
    return Done(change.path, change.action, entry.package, before.version if before else "", now)
