"""What root alone can have put where it is: the rule of sshd_config(5), ChrootDirectory, for a jail and for what says how a
program is started in one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from tracejail.errors import RunError

_OTHERS_WRITE = 0o022
_MOST_LINKS = 40


def open_jail(path: str) -> tuple[str, int]:
    """The real path of a jail, and a descriptor of it. Raises RunError where it, or what leads to it, is not root's alone."""
    real = "/"
    for place, status in _way(path):
        real = place
        if not stat.S_ISDIR(status.st_mode):
            raise RunError(f"{place}: is no directory", "name the directory of a jail with -j")
        if status.st_uid != 0:
            raise RunError(f"{place}: belongs to user {status.st_uid}, who could put another jail there", f"chown root {place}")
        if status.st_mode & _OTHERS_WRITE:
            cure = "put the jail elsewhere" if status.st_mode & stat.S_ISVTX else f"chmod go-w {place}, or put the jail elsewhere"
            raise RunError(f"{place}: others than root can write to it", f"{cure}, as beneath /srv")
    found = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if os.path.samestat(os.fstat(found), os.stat("/")):
        raise RunError(f"{path}: is the root directory of this machine, and no jail", "name the directory of a jail with -j")
    return real, found


def check_file(path: str) -> None:
    """Raises RunError for a file that others than root could have written, or put there; and for what is no regular file."""
    for place, status in _way(path):
        if stat.S_ISDIR(status.st_mode):
            if status.st_uid != 0 or (status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX):
                raise RunError(f"{place}: others than root can put another {os.path.basename(path)} there", "keep it elsewhere")
            continue
        if not stat.S_ISREG(status.st_mode):
            raise RunError(f"{place}: is no regular file", "name a file that tracejail has written")
        if status.st_uid != 0:
            raise RunError(f"{place}: belongs to user {status.st_uid}, and says how root starts a program", f"chown root {place}")
        if status.st_mode & _OTHERS_WRITE:
            raise RunError(f"{place}: others can write to it, and it says how root starts a program", f"chmod go-w {place}")


def _way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """All that is passed on the way to a path, links followed, and where it ends. Raises RunError."""
    try:
        parts = [name for name in reversed(os.path.join(os.getcwd(), path).split("/")) if name not in ("", ".")]
    except FileNotFoundError:
        raise RunError(f"{path}: the working directory is gone", "name a full path") from None
    at, links = "", 0
    yield "/", os.lstat("/")
    while parts:
        name = parts.pop()
        if name == "..":
            at = os.path.dirname(at).rstrip("/")
            continue
        place = f"{at}/{name}"
        try:
            status = os.lstat(place)
        except OSError as error:
            raise RunError(f"{place}: {os.strerror(error.errno or 0)}", "see where it is") from None
        if not stat.S_ISLNK(status.st_mode):
            at = place
            yield place, status
            continue
        links += 1
        if links > _MOST_LINKS:
            raise RunError(f"{path}: {os.strerror(errno.ELOOP)}", "name where the links are to lead")
        if status.st_uid != 0:
            raise RunError(f"{place}: is a link of user {status.st_uid}, who could make it lead elsewhere", "name where it leads")
        target = os.readlink(place)
        parts += [name for name in reversed(target.split("/")) if name not in ("", ".")]
        at = "" if target.startswith("/") else at
