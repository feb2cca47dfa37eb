"""The staging directory beside a jail: the lock on it, the place where it is built, and a janitor that clears it.

A jail appears by one rename, when it is whole. The directory `.NAME.tracejail` is the lock too (flock(2) on its
descriptor): a second run is told so, a directory without a holder is litter of a killed run and is cleared. The
janitor is a small process that outlives a SIGKILL of the learner by the moment that clearing takes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from tracejail.errors import InputOutputError, LockedError
from tracejail.kernel.syscalls import syscall

from .remove import remove_tree

_RENAMEAT2, _NOREPLACE, _EXCHANGE = 316, 1, 2


@dataclass(frozen=True, slots=True)
class Staging:
    """An open and locked staging directory; `parent` and `fd` are descriptors."""

    jail: str
    parent: int
    name: str    # of the staging directory, in `parent`
    fd: int


@contextlib.contextmanager
def staging(jail: str) -> Iterator[Staging]:
    """Lock `jail` (an absolute path) and give a directory beside it to build in, which is gone afterwards.

    Raises LockedError if another run works on this jail, InputOutputError if its directory can't be used.
    """
    directory, _, base = jail.rpartition("/")
    try:
        parent = os.open(directory or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InputOutputError(
            f"{directory or '/'}: {os.strerror(error.errno or 0)}", "make the directory first, or name another with -j"
        ) from None
    name = f".{base}.tracejail"
    tell = _start_janitor(parent, name)  # before there is anything to clear
    try:
        try:
            fd = _lock(parent, name, jail)
        except BaseException:
            _dismiss(tell)
            raise
        os.write(tell[1], b"mine")
        try:
            yield Staging(jail, parent, name, fd)
        finally:
            with contextlib.suppress(OSError):
                remove_tree(parent, name)
            _dismiss(tell)
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child that still holds the descriptor must not hold the lock
            os.close(fd)
    finally:
        os.close(parent)


def _lock(parent: int, name: str, jail: str) -> int:
    for _ in range(100):
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            pass
        except OSError as error:
            raise InputOutputError(f"{jail}: {os.strerror(error.errno or 0)}", "choose another place with -j") from None
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputOutputError(f"{jail}: {name} beside it: {os.strerror(error.errno or 0)}", "remove it") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise LockedError(
                f"{jail}: another run of tracejail works on this jail", "wait for it, or name another jail with -j"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino == os.fstat(fd).st_ino:
                for entry in os.listdir(fd):  # of a run that was killed
                    remove_tree(fd, entry)
                return fd
        os.close(fd)  # the former holder removed it between our open and our lock
    raise LockedError(f"{jail}: its staging directory keeps vanishing", "look for other runs of tracejail")


def _start_janitor(parent: int, name: str) -> tuple[int, int]:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    process = os.fork()
    if process:
        os.close(read_end)
        return process, write_end
    try:
        os.close(write_end)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        null = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):  # a reader of the learner's output must not wait for the janitor
            os.dup2(null, standard)
        heard = b""
        while not heard.endswith(b"done") and (word := os.read(read_end, 16)):
            heard += word
        if not heard.endswith(b"done"):
            _clear(parent, name, b"mine" in heard)
    finally:
        os._exit(0)


def _dismiss(janitor: tuple[int, int]) -> None:
    os.write(janitor[1], b"done")
    os.close(janitor[1])
    with contextlib.suppress(ChildProcessError):
        os.waitpid(janitor[0], 0)


def _clear(parent: int, name: str, ours: bool) -> None:
    """After a kill: remove the directory, if it was this run's. Killed while it was made, it is whoever's that holds the
    lock; nobody's is litter."""
    if not ours:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    remove_tree(parent, name)


def install(stage: Staging, name: str, target: str, replace: bool) -> None:
    """Move `name` of the staging directory to `target` in the jail's directory, at once; with `replace` what was
    there comes into the staging directory instead. Raises FileExistsError, InputOutputError."""
    source, destination = os.fsencode(name), os.fsencode(target)
    try:
        try:
            syscall(_RENAMEAT2, stage.fd, source, stage.parent, destination, _EXCHANGE if replace else _NOREPLACE)
        except FileNotFoundError:
            syscall(_RENAMEAT2, stage.fd, source, stage.parent, destination, _NOREPLACE)
    except FileExistsError:
        raise
    except OSError as error:
        raise InputOutputError(f"{target}: {os.strerror(error.errno or 0)}", "choose another place with -j") from None
