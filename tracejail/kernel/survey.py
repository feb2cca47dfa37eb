"""Many paths of one tree at once: each directory is opened once, safely, and its names are asked for in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from .paths import BENEATH, IN_ROOT, NO_MAGICLINKS, NO_SYMLINKS, openat2

# Of a tree that a hostile program may change, no link is followed on the way; of the host's, those that it has are.
STRAIGHT = BENEATH | NO_SYMLINKS | NO_MAGICLINKS
LED = IN_ROOT | NO_MAGICLINKS


def by_directory(paths: Iterable[str]) -> dict[str, list[str]]:
    """Names by the directory that they are in; of absolute paths without "/" itself."""
    found: dict[str, list[str]] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        found.setdefault(directory, []).append(name)
    return found


def survey(root: int, paths: Mapping[str, Iterable[str]], resolve: int) -> Iterator[tuple[str, os.stat_result | None]]:
    """Each path with its stat(2), the last name not followed; None where nothing is. `paths` are names by directory.

    Two calls for each directory and one for each name. Raises OSError for what can't be searched.
    """
    look = os.stat
    for directory, names in paths.items():
        try:
            at = openat2(root, directory.lstrip("/") or ".", os.O_PATH | os.O_DIRECTORY, 0, resolve)
        except (FileNotFoundError, NotADirectoryError):
            yield from ((f"{directory}/{name}", None) for name in names)
            continue
        except OSError as error:
            if error.errno not in _LINKED:
                raise
            yield from ((f"{directory}/{name}", None) for name in names)
            continue
        try:
            for name in names:
                try:
                    yield f"{directory}/{name}", look(name, dir_fd=at, follow_symlinks=False)
                except (FileNotFoundError, NotADirectoryError):
                    yield f"{directory}/{name}", None
        finally:
            os.close(at)


_LINKED = (40, 18)   # ELOOP: a directory was made a link; EXDEV: it leads out


def names_in(root: int, directory: str) -> list[str]:
    """The names in a directory of a tree that may be hostile; none where it is not one. Raises OSError."""
    try:
        at = openat2(root, directory.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY, 0, STRAIGHT)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return os.listdir(at)
    finally:
        os.close(at)


def link_target(root: int, path: str, resolve: int) -> str:
    """Where a symlink leads; "" where none is. Raises OSError."""
    directory, _, name = path.rpartition("/")
    at = openat2(root, directory.lstrip("/") or ".", os.O_PATH | os.O_DIRECTORY, 0, resolve)
    try:
        return os.readlink(name, dir_fd=at)
    except OSError:
        return ""
    finally:
        os.close(at)
