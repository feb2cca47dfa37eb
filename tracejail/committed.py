"""The committed part of an update: done to its end, or undone, whatever ended the process that began it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence

from tracejail.errors import InputOutputError, UsageError
from tracejail.jail.journal import (
    JOURNAL,
    TURNED,
    ChangedError,
    Journal,
    StuckError,
    close_journal,
    do_all,
    drop,
    give_up,
    read_journal,
    undo_all,
)
from tracejail.jail.staging import Staging, staging
from tracejail.jail.tree import open_tree
from tracejail.jail.upkeep import NEXT, PENDING, Upkeep, clear, folder, has, upkeep
from tracejail.status import opened_jail

BEFORE, AFTER = "before.json", "after.json"   # both manifests, in the journal's directory


@contextlib.contextmanager
def locked(jail: str) -> Iterator[tuple[Staging, Upkeep]]:
    """The lock on a jail, and the directory of its updates. Raises InputOutputError, LockedError."""
    with opened_jail(jail), staging(jail) as stage, upkeep(jail) as at:
        try:
            yield stage, at
        except KeyboardInterrupt:
            if not has(at, PENDING):
                raise
            raise KeyboardInterrupt(f"{at.jail} is brought over in part, and the next tracejail update finishes it") from None


@contextlib.contextmanager
def file_errors(jail: str) -> Iterator[None]:
    """What the kernel refuses, in the words of the error tree."""
    try:
        yield
    except ChangedError as changed:
        cause = f"{jail}{changed.path}: it was changed in this moment; all is left as it was"
        raise InputOutputError(cause, "call it again") from None
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) and error.filename.startswith("/") else ""
        cause = f"{jail}{place}: {os.strerror(error.errno or 0)}; all is left as it was"
        raise InputOutputError(cause, _HINTS.get(error.errno or 0, "see what is there, and call it again")) from error


_HINTS = {
    errno.ENOSPC: "make room there", errno.EDQUOT: "the quota there is used up: make room",
    errno.EROFS: "its file system is read-only", errno.EPERM: "may it be changed? lsattr(1) shows whether it is immutable",
}


def finish(at: Upkeep, path: str) -> bool:
    """Clear what a killed update made ready, and finish one that was committed; whether there was such a one."""
    with file_errors(at.jail):
        clear(at, NEXT)
        if not has(at, PENDING):
            return False
        with folder(at, PENDING) as fd:
            journal = read(fd, at.jail)
    if journal.root != os.fstat(at.root).st_ino:
        drop(at)   # of a jail that has been made anew since
        return False
    if not is_of(journal, path):
        raise UsageError(
            f"{at.jail}: an update by {journal.manifest} was killed here, and is to be finished first",
            f"tracejail update {journal.manifest}",
        )
    carry_out(at, path)
    return True


def read(fd: int, jail: str, names: Sequence[str] = (TURNED, JOURNAL)) -> Journal:
    """The journal of a directory. Raises InputOutputError, OSError."""
    try:
        return read_journal(fd, names)
    except ValueError:
        hint = "look at it, and remove it; then call it again"
        raise InputOutputError(f"{jail}: the journal of an update beside it makes no sense", hint) from None


def carry_out(at: Upkeep, path: str) -> None:
    """Do what is committed, or nothing of it. Raises InputOutputError. An interruption leaves it to the next call."""
    tree = open_tree(at.root, at.jail)
    with file_errors(at.jail), folder(at, PENDING) as fd:
        journal = read(fd, at.jail)
        try:
            try:
                do_all(tree, fd, journal.steps)
            except StuckError:
                raise
            except Exception:
                _put_back(fd, journal, path)
                raise
            try:
                _put_manifest(fd, journal.after, path)
            except Exception:
                undo_all(tree, fd, journal.steps)
                raise
        except StuckError as stuck:
            cause = f"{at.jail}: {stuck}; some of its files are the old ones, some the new"
            raise InputOutputError(cause, "see to it, and call it again: it goes on from here") from None
        except Exception:
            give_up(at)
            raise
    with file_errors(at.jail):
        close_journal(at)


def _put_back(fd: int, journal: Journal, path: str) -> None:
    """The manifest that was there before, where a call that was killed has exchanged it already."""
    with open(path, "rb") as stream:
        now = hashlib.sha256(stream.read()).hexdigest()
    if journal.after and now == journal.after:
        _put_manifest(fd, journal.before, path)


def _put_manifest(fd: int, wanted: str, path: str) -> None:
    """The manifest with this digest into its place at once, with the owner and mode of the one that is there; a symlink stays
    one. Raises OSError, InputOutputError."""
    if not wanted:
        return
    name = next((name for name in (AFTER, BEFORE) if _digest_in(fd, name) == wanted), "")
    if not name:
        raise InputOutputError(f"{path}: the manifest that lay ready for it was changed; all is left as it was", "call it again")
    path = os.path.realpath(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink("manifest", dir_fd=fd)
    _copy_manifest(fd, name, "manifest", path)
    try:
        os.rename("manifest", path, src_dir_fd=fd)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        os.unlink("manifest", dir_fd=fd)
        part = f"{path}.{os.getpid()}.part"
        try:
            _copy_manifest(fd, name, part, path)
            os.rename(part, path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
            raise


def _copy_manifest(fd: int, name: str, part: str, like: str) -> None:
    """A copy, as whoever edits the manifest in its place is not to change what is kept for the way back. Raises OSError."""
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd), "rb") as stream:
        text = stream.read()
    out = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
    with open(out, "wb") as stream:
        stream.write(text)
        stream.flush()
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(like)
            with contextlib.suppress(PermissionError):
                os.fchown(out, status.st_uid, status.st_gid)
            os.fchmod(out, status.st_mode & 0o777)
        os.fsync(out)


def is_of(journal: Journal, path: str) -> bool:
    """Whether a manifest is the one of a journal, if by another name: it was moved, or is that to the byte."""
    if os.path.realpath(journal.manifest) == os.path.realpath(path) or not os.path.exists(journal.manifest):
        return True
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest() in (journal.before, journal.after)


def _digest_in(fd: int, name: str) -> str:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    with open(source, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()
