"""The mounts of this mount namespace, as proc_pid_mountinfo(5) tells them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_NONE = 0   # no mount has this ID
_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True, slots=True)
class MountLine:
    """One mount: where it is, what of its file system shows there, its flags (ro, nosuid, nodev, noexec...) and type.
    `number` and `parent` are mount IDs: of the mount, and of that on which it lies; `device` is the
    number of its file system, major:minor."""

    point: str
    root: str
    flags: frozenset[str]
    type: str
    source: str
    number: int = 0
    parent: int = 0
    device: str = ""


def mount_lines(process: str = "self") -> list[MountLine]:
    """Those that a process sees, in no order that can be relied on: a mount that was moved stands where it was made. Empty
    where the process has ended."""
    try:
        with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().split("\n")[:-1]
    except OSError:
        return []
    found = []
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        super_flags = rest[2].split(",")[:1] if len(rest) > 2 else []   # ro or rw, of the file system as a whole
        flags = {*fields[5].split(","), *(word for word in super_flags if word == "ro")}
        found.append(MountLine(
            _plain(fields[4]), _plain(fields[3]), frozenset(flags), rest[0], _plain(rest[1]), int(fields[0]), int(fields[1]),
            fields[2],
        ))
    return found


def shown_at(path: str, lines: Sequence[MountLine]) -> tuple[MountLine | None, tuple[MountLine, ...]]:
    """The mount on which a real path lies, and those beneath the path that can be reached: a mount is covered by another on
    the same parent that lies above it. None where no line holds the path: a process in a chroot(2) sees those beneath its
    root alone."""
    numbers = {line.number for line in lines}
    above: dict[int, list[MountLine]] = {}
    for line in lines:
        above.setdefault(line.parent if line.parent in numbers else _NONE, []).append(line)
    first, at = None, _NONE
    while held := [line for line in above.get(at, ()) if holds(line.point, path)]:
        first = min(held, key=lambda line: len(line.point))
        at = first.number
    return first, tuple(_beneath(at, path, above))


def _beneath(number: int, path: str, above: Mapping[int, Sequence[MountLine]]) -> Iterator[MountLine]:
    children = above.get(number, ())
    for line in children:
        covered = any(other.point != line.point and holds(other.point, line.point) for other in children)
        if covered or line.point == path or not holds(path, line.point):
            continue
        while top := next((other for other in above.get(line.number, ()) if other.point == line.point), None):
            line = top
        yield line
        yield from _beneath(line.number, path, above)


def holds(directory: str, path: str) -> bool:
    """Whether an absolute path is a directory, or beneath it, by its name."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _plain(name: str) -> str:
    for escape, character in _ESCAPES:
        name = name.replace(escape, character)
    return name
