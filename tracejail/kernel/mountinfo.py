"""The mounts of this mount namespace, as proc_pid_mountinfo(5) tells them."""

from __future__ import annotations

from dataclasses import dataclass

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True, slots=True)
class MountLine:
    """One mount: where it is, what of its file system shows there, its flags (ro, nosuid, nodev, noexec...) and type."""

    point: str
    root: str
    flags: frozenset[str]
    type: str
    source: str


def mount_lines(process: str = "self") -> list[MountLine]:
    """Those that a process sees, in the order in which they were made: a later one covers an earlier one at the same
    place. Empty where the process has ended."""
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
        found.append(MountLine(_plain(fields[4]), _plain(fields[3]), frozenset(flags), rest[0], _plain(rest[1])))
    return found


def _plain(name: str) -> str:
    for escape, character in _ESCAPES:
        name = name.replace(escape, character)
    return name
