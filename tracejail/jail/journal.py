"""Steps that change a jail so that a kill at any point leaves each file as it was or as it is to be, and none torn.

All that comes in lies ready in a directory of the jail's file system, with the steps in `journal.json`, before the
directory is given the name `pending` and so is committed. A step is one rename(2); what it takes out keeps a second name
in the directory. Whether a step was done is told by inode numbers, so doing them all again is right at any time.
A rollback is the same, with the steps turned round.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tracejail.errors import InputOutputError
from tracejail.kernel.paths import BENEATH, NO_MAGICLINKS, NO_SYMLINKS, NO_XDEV, openat2

from .tree import Attributes, Tree, open_tree, set_file
from .upkeep import FORMER, NEXT, PENDING, Upkeep, clear, folder, move

JOURNAL, TURNED = "journal.json", "rollback.json"
_LARGEST = 1 << 28


class ChangedError(Exception):
    """What lies at `path` in the jail is neither what a step takes out nor what it brings in."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class StuckError(Exception):
    """Some steps are done, the rest can't be, and neither can they be undone: the journal stays for the next call."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `staged` comes in, `kept` is the name for what goes out, both in the journal's directory; with their
    inode numbers. A step with neither gives a file or directory other attributes."""

    path: str
    staged: str = ""
    kept: str = ""
    inode: int = 0
    was: int = 0
    before: Attributes | None = None
    after: Attributes | None = None
    directory: bool = False


@dataclass(frozen=True, slots=True)
class Journal:
    """The steps in their order, for the jail whose root has this inode number; `manifest` is the path of its manifest, and
    `digests` the SHA-256 of that before and after. `turns` counts the rollbacks since the update."""

    root: int
    manifest: str
    steps: tuple[Step, ...]
    before: str = ""
    after: str = ""
    turns: int = 0


def turned(journal: Journal) -> Journal:
    """The way back."""
    steps = tuple(
        replace(step, staged=step.kept, kept=step.staged, inode=step.was, was=step.inode, before=step.after, after=step.before)
        for step in reversed(journal.steps)
    )
    return replace(journal, steps=steps, before=journal.after, after=journal.before, turns=journal.turns + 1)


def write_journal(fd: int, name: str, journal: Journal) -> None:
    """Into a directory, whole or not at all. Raises OSError."""
    text = json.dumps(asdict(journal), separators=(",", ":")).encode()
    part = os.open(f"{name}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
    with open(part, "wb") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(part)
    os.rename(f"{name}.part", name, src_dir_fd=fd, dst_dir_fd=fd)


def read_journal(fd: int, names: Sequence[str] = (TURNED, JOURNAL)) -> Journal:
    """Of a directory; the turned one where it has one. Raises OSError, ValueError."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            with open(source, "rb") as stream:
                raw: Mapping[str, Any] = json.loads(stream.read(_LARGEST))
            try:
                steps = tuple(_step(row) for row in raw["steps"])
                return Journal(raw["root"], raw["manifest"], steps, raw["before"], raw["after"], raw.get("turns", 0))
            except (KeyError, TypeError) as error:
                raise ValueError(str(error)) from None
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), JOURNAL)


def _step(row: Mapping[str, Any]) -> Step:
    given = dict(row)
    for name in ("before", "after"):
        if given[name] is not None:
            xattrs = tuple((key, value) for key, value in given[name]["xattrs"])
            given[name] = Attributes(**{**given[name], "xattrs": xattrs})
    return Step(**given)


# --- doing ------------------------------------------------------------------------------------------------------------


def do_all(tree: Tree, fd: int, steps: Sequence[Step]) -> None:
    """Do the steps that are not done yet; where one can't be, all that were are undone, and its error is raised:
    ChangedError, OSError, InputOutputError; StuckError. `fd` is of the directory of what comes in.

    An interruption is no such error: it leaves all as it stands, as a kill does, for the next call."""
    for count, step in enumerate(steps):
        try:
            _do(tree, fd, step)
        except Exception as error:
            # Of those behind it some may have been done before a kill; what was never reached is not touched.
            undo_all(tree, fd, [*steps[:count], *(each for each in steps[count:] if _is_begun(tree, each))])
            if isinstance(error, OSError):
                error.filename = step.path
            raise


def _is_begun(tree: Tree, step: Step) -> bool:
    """Whether a step, at which the doing stopped, may have changed something that can be reached."""
    try:
        with _parent(tree, step.path) as (parent, name):
            there = _inode(parent, name)
    except OSError:
        return False
    if step.after is not None:
        return there != 0
    return there == (step.inode if step.staged else 0)


def undo_all(tree: Tree, fd: int, steps: Sequence[Step]) -> None:
    """Turn steps back. Raises StuckError."""
    try:
        for step in turned(Journal(0, "", tuple(steps))).steps:
            _do(tree, fd, step)
    except (OSError, ChangedError, InputOutputError) as error:
        raise StuckError(str(error)) from error


def _do(tree: Tree, fd: int, step: Step) -> None:
    if step.after is not None:
        set_file(tree, step.path, step.after)
        return
    with _parent(tree, step.path) as (parent, name):
        there = _inode(parent, name)
        if step.staged and there == step.inode:
            return
        if step.staged and step.kept:
            if there != step.was:
                raise ChangedError(step.path)
            _keep(parent, name, fd, step)
            os.rename(step.staged, name, src_dir_fd=fd, dst_dir_fd=parent)
        elif step.staged:
            if there:
                raise ChangedError(step.path)
            os.rename(step.staged, name, src_dir_fd=fd, dst_dir_fd=parent)
        elif there == step.was:
            _take_out(parent, name, fd, step)
        elif there:
            raise ChangedError(step.path)


def _take_out(parent: int, name: str, fd: int, step: Step) -> None:
    if step.directory:
        at = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if os.listdir(at):
                return   # what others put in it stays, and it with that
        finally:
            os.close(at)
        os.rename(name, step.kept, src_dir_fd=parent, dst_dir_fd=fd)
        return
    _keep(parent, name, fd, step)
    os.unlink(name, dir_fd=parent)


def _keep(parent: int, name: str, fd: int, step: Step) -> None:
    """A second name for what goes out; it is there already as a rule, since it is made before the steps begin."""
    if _inode(fd, step.kept) != step.was:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(step.kept, dir_fd=fd)
        os.link(name, step.kept, src_dir_fd=parent, dst_dir_fd=fd, follow_symlinks=False)
    if _inode(fd, step.kept) != step.was:
        raise ChangedError(step.path)


def keep_all(tree: Tree, fd: int, steps: Sequence[Step]) -> None:
    """Second names for all that is to go out: the room that they take is taken before anything changes.

    Raises ChangedError, OSError."""
    for step in steps:
        if step.kept and not step.directory:
            with _parent(tree, step.path) as (parent, name):
                if _inode(parent, name) != step.was:
                    raise ChangedError(step.path)
                _keep(parent, name, fd, step)


def inode_at(tree: Tree, path: str) -> int:
    """The inode number of what lies at a path; 0 for nothing, or where no straight way leads there. Raises OSError."""
    try:
        with _parent(tree, path) as (parent, name):
            return _inode(parent, name)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
            return 0
        raise


@contextlib.contextmanager
def _parent(tree: Tree, path: str) -> Iterator[tuple[int, str]]:
    directory, _, name = path.rpartition("/")
    flags = os.O_RDONLY | os.O_DIRECTORY
    fd = openat2(tree.fd, directory.lstrip("/") or ".", flags, 0, BENEATH | NO_SYMLINKS | NO_MAGICLINKS | NO_XDEV)
    before = os.fstat(fd)
    try:
        yield fd, name
        # A directory's time tells nothing of what its program does, if an update moves it.
        if os.fstat(fd).st_mtime_ns != before.st_mtime_ns:
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(fd)


def _inode(directory: int, name: str) -> int:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return 0


# --- the whole --------------------------------------------------------------------------------------------------------


def copy_in(fd: int, root: int, steps: Sequence[Step]) -> None:
    """The steps in a copy of the jail (a descriptor of its root), by second names of what lies ready, which stays there.

    Raises OSError.
    """
    for step in steps:
        place = step.path.lstrip("/")
        if step.after is not None:
            with contextlib.suppress(InputOutputError):   # what the copy has not
                set_file(open_tree(root, "the copy: "), step.path, step.after)
            continue
        if step.kept and not step.directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place, dir_fd=root)
        if step.staged and step.directory:
            status = os.stat(step.staged, dir_fd=fd)
            os.mkdir(place, stat.S_IMODE(status.st_mode), dir_fd=root)
            os.chown(place, status.st_uid, status.st_gid, dir_fd=root)
            os.chmod(place, stat.S_IMODE(status.st_mode), dir_fd=root)
        elif step.staged:
            os.link(step.staged, place, src_dir_fd=fd, dst_dir_fd=root, follow_symlinks=False)


def give_up(at: Upkeep) -> None:
    """Nothing of what was committed is done: what lay ready goes; of a way back all is as it was before. Raises OSError."""
    with folder(at, PENDING) as fd:
        try:
            os.unlink(TURNED, dir_fd=fd)
        except FileNotFoundError:
            drop(at)
            return
    move(at, PENDING, FORMER)


def drop(at: Upkeep) -> None:
    """What was committed goes: at once, as half of it would make no sense to whoever comes after a kill. Raises OSError."""
    move(at, PENDING, NEXT)
    clear(at, NEXT)


def turn(at: Upkeep, journal: Journal) -> None:
    """Commit the way back from what the last update took out. Raises OSError."""
    with folder(at, FORMER) as fd:
        write_journal(fd, TURNED, journal)
    move(at, FORMER, PENDING)


def close_journal(at: Upkeep) -> None:
    """All steps are done, and the manifest is in its place: what went out is kept as `former`. Raises OSError."""
    with folder(at, PENDING) as fd, contextlib.suppress(FileNotFoundError):
        os.rename(TURNED, JOURNAL, src_dir_fd=fd, dst_dir_fd=fd)
    move(at, PENDING, FORMER)
