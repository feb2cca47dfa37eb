"""What the kernel judges a thread by: users, capabilities, filters and limits (proc_pid_status(5), proc_pid_limits(5))."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a thread at one moment: file system user and group, effective capabilities, seccomp mode and filters, soft
    limits by name, and the label that a security module has put on it (proc_pid_attr(5)), "" for none."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: frozenset[int]
    seccomp: int
    no_new_privs: bool
    limits: tuple[tuple[str, str], ...]
    filters: int = 0
    label: str = ""


def standing_of(thread: int) -> Standing | None:
    """None if it has ended."""
    rows = {key: value.split() for key, _, value in (line.partition(":") for line in _lines(thread, "status"))}
    if "Uid" not in rows:
        return None
    mask = int(rows.get("CapEff", ["0"])[0], 16)
    return Standing(
        uid=int(rows["Uid"][3]),
        gid=int(rows["Gid"][3]),
        groups=tuple(int(word) for word in rows.get("Groups", [])),
        capabilities=frozenset(bit for bit in range(64) if mask >> bit & 1),
        seccomp=int(rows.get("Seccomp", ["0"])[0]),
        no_new_privs=rows.get("NoNewPrivs") == ["1"],
        limits=tuple((line[:25].strip(), line[25:].split()[0]) for line in _lines(thread, "limits")[1:] if line[25:].split()),
        filters=int(rows.get("Seccomp_filters", ["0"])[0]),
        label=next(iter(_lines(thread, "attr/current")), "").rstrip("\0"),
    )


def _lines(thread: int, name: str) -> list[str]:
    try:
        with open(f"/proc/{thread}/{name}", encoding="utf-8", errors="replace") as stream:
            return stream.read().splitlines()
    except OSError:
        return []
