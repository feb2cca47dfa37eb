"""Removing a tree by directory descriptors: no depth limit, no symlink followed, no mount crossed."""

from __future__ import annotations

import contextlib
import os

from tracejail.kernel.paths import is_mounted


def remove_tree(parent: int, name: str) -> None:
    """Remove `name` beneath the directory descriptor `parent` and all that it holds; nothing if it is not there.

    One descriptor is open at a time for each level that is moved up, so a tree of any depth can go: a directory
    that is too deep is first moved to the top. Raises OSError for what cannot be removed.
    """
    try:
        top = _open(name, parent)
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    try:
        device = os.fstat(top).st_dev
        count = 0
        while True:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in os.scandir(top)]
            if not entries:
                break
            for child, is_directory in entries:
                if not is_directory:
                    os.unlink(child, dir_fd=top)
                    continue
                # Lift what the directory holds to the top, so that the depth shrinks and nothing recurses.
                fd = _open(child, top)
                try:
                    if os.fstat(fd).st_dev != device and is_mounted(top, child):
                        raise OSError(16, "is a mount point", child)
                    for inner in [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in os.scandir(fd)]:
                        if inner[1]:
                            count += 1
                            os.close(_open(inner[0], fd))
                            os.rename(inner[0], f".lifted-{count}-{os.urandom(4).hex()}", src_dir_fd=fd, dst_dir_fd=top)
                        else:
                            os.unlink(inner[0], dir_fd=fd)
                finally:
                    os.close(fd)
                os.rmdir(child, dir_fd=top)
    finally:
        os.close(top)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def _open(name: str, parent: int) -> int:
    """A directory to read and to empty. Its owner, without the powers of root, may have to let himself in first."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    path = os.open(name, os.O_PATH | flags, dir_fd=parent)
    try:
        if os.fstat(path).st_mode & 0o700 != 0o700:
            with contextlib.suppress(PermissionError):
                os.chmod(f"/proc/self/fd/{path}", 0o700)
        return os.open(f"/proc/self/fd/{path}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(path)
