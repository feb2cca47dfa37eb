"""The use case `update --rollback`: a jail and its manifest back to what they were before the last update."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace

from tracejail.changes import Action
from tracejail.committed import carry_out, file_errors, finish, is_of, locked, read
from tracejail.errors import UsageError
from tracejail.jail.content import digest_of
from tracejail.jail.journal import JOURNAL, Journal, Step, inode_at, turn, turned
from tracejail.jail.tree import Tree, open_file, open_tree
from tracejail.jail.upkeep import FORMER, PENDING, Upkeep, folder, has, is_pending
from tracejail.manifest import read_manifest
from tracejail.model import EntryType, JailPath, Manifest
from tracejail.replaceable import read_former
from tracejail.restarts import to_restart
from tracejail.update import Done, Updated, Wish, interrupted, place_of_jail


def roll_back(path: str, wish: Wish) -> Updated:
    """Bring one jail and its manifest back to what they were before the last update; a second call brings the update again.

    Raises TracejailError: UsageError where there is nothing to go back to, or it was changed since.
    """
    began = time.monotonic()
    path = os.path.abspath(path)
    manifest = read_former(path)
    jail = place_of_jail(path, manifest, wish.jail)
    if wish.dry and is_pending(jail):
        return interrupted(path, jail, manifest)
    with locked(jail) as (_, at):
        begun = not wish.dry and _is_begun(at)
        finished = not wish.dry and finish(at, path)
        if begun and finished:   # it was this that was called for
            return Updated(path, jail, len(read_manifest(path).entries), finished=True, seconds=time.monotonic() - began)
        tree = open_tree(at.root, jail)
        if not has(at, FORMER):
            raise UsageError(f"{jail}: there is no update to go back from", "only the last one's files are kept")
        with file_errors(jail), folder(at, FORMER) as fd:
            back = turned(read(fd, jail, (JOURNAL,)))   # a turned one is of a call that was killed before it committed it
        back = _fitting(back, tree, path, wish.force)
        if not wish.force:
            _check_content(back, tree, manifest)
        changes = tuple(Done(step.path, _action(step)) for step in back.steps)
        if wish.dry:
            return Updated(path, jail, len(manifest.entries), changes, bool(back.after), finished=finished)
        with file_errors(jail):
            turn(at, back)
        carry_out(at, path)
        restart = to_restart(jail, {step.was: step.path for step in back.steps if step.was})
        entries = len(read_manifest(path).entries)
        return Updated(
            path, jail, entries, changes, bool(back.after), restart=tuple(restart), finished=finished,
            seconds=time.monotonic() - began,
        )


def _is_begun(at: Upkeep) -> bool:
    """Whether it is a way back that was killed."""
    if not has(at, PENDING):
        return False
    with file_errors(at.jail), folder(at, PENDING) as fd:
        return read(fd, at.jail).turns > 0


def _fitting(back: Journal, tree: Tree, path: str, force: bool) -> Journal:
    """The way back from what is there. What was changed since the update is in the way, unless `force` takes it out too.

    Raises UsageError."""
    if back.root != os.fstat(tree.fd).st_ino:
        raise UsageError(f"{tree.name}: the jail was made anew since its last update", "there is nothing to go back to")
    if not is_of(back, path):
        raise UsageError(f"{tree.name}: its last update was by {back.manifest}", f"tracejail update --rollback {back.manifest}")
    with open(path, "rb") as stream:
        now = hashlib.sha256(stream.read()).hexdigest()
    if back.before and now != back.before and not force:
        raise UsageError(f"{path}: the manifest was changed since the last update", "--force goes back all the same")
    steps = []
    for step in back.steps:
        there = inode_at(tree, step.path) if step.after is None else 0
        if step.after is None and there not in (step.was, step.inode):
            if not force or step.directory:
                raise UsageError(f"{tree.name}{step.path}: was changed since the last update", "--force goes back all the same")
            step = replace(step, was=there, kept=(step.kept or f"{step.staged}x") if there else "")
        steps.append(step)
    return replace(back, steps=tuple(steps))


def _check_content(back: Journal, tree: Tree, manifest: Manifest) -> None:
    """What goes out is to be what the update brought, to the byte. Raises UsageError."""
    digests = {entry.path: entry.sha256 for entry in manifest.entries if entry.type is EntryType.FILE}
    for step in back.steps:
        source = open_file(tree, step.path) if step.kept and digests.get(JailPath(step.path)) else None
        if source is None:
            continue
        try:
            digest = digest_of(source)[0]
        finally:
            os.close(source)
        if digest != digests[JailPath(step.path)]:
            raise UsageError(f"{tree.name}{step.path}: was changed since the last update", "--force goes back all the same")


def _action(step: Step) -> Action:
    if step.after is not None:
        return Action.SET
    return (Action.REPLACE if step.kept else Action.ADD) if step.staged else Action.REMOVE
