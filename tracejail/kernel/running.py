"""What /proc says of a process that runs already: its threads and family, what it has open and mapped (proc(5)).

Each function takes the id of a thread as well, since a process whose first thread has ended shows nothing under its own.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from dataclasses import dataclass

from .memory import read_string

_KERNEL_THREAD = 0x00200000     # PF_KTHREAD, linux/sched.h
_EXECUTED_AS = 31               # AT_EXECFN, getauxval(3)
_DELETED = " (deleted)"
_LISTENS, _BOUND, _ACCEPTS = "0A", "07", 0x10000   # net/tcp_states.h; __SO_ACCEPTCON of linux/net.h


@dataclass(frozen=True, slots=True)
class Mapped:
    """A file that is mapped. `written`: what is written to the memory goes to the file. `inode` is its number."""

    path: str
    written: bool
    deleted: bool
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An open descriptor. `path` is as /proc has it: of what is no file it does not begin with "/"."""

    path: str
    flags: int
    deleted: bool
    number: int = -1
    mode: int = 0      # with the type, as of stat(2)
    size: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a process runs as: effective ids, supplementary groups, and all ids that it may take on again."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    users: frozenset[int]


def is_there(process: int) -> bool:
    """Whether there is such a process or thread that has not ended."""
    fields = _stat(process)
    return bool(fields) and fields[0] not in ("Z", "X")


def is_kernel_thread(process: int) -> bool:
    """Whether it is a part of the kernel."""
    fields = _stat(process)
    return len(fields) > 6 and bool(int(fields[6]) & _KERNEL_THREAD)


def parent_of(process: int) -> int:
    """The process that made it, or the one that took it over; 0 for none."""
    fields = _stat(process)
    return int(fields[1]) if fields else 0


def tracer_of(process: int) -> int:
    """The process that traces it; 0 for none, or where that is not of this pid namespace."""
    for line in _lines(f"/proc/{process}/status"):
        if line.startswith("TracerPid:"):
            return int(line.split()[1])
    return 0


def program_of(process: int) -> str:
    """The program that it executes, also where that has been replaced since; "" if it has ended."""
    try:
        return os.readlink(f"/proc/{process}/exe").removesuffix(_DELETED)
    except OSError:
        return ""


def name_of(process: int) -> str:
    """The short name of a process; "" if it has ended."""
    return next(iter(_lines(f"/proc/{process}/comm")), "")


def threads_of(process: int) -> list[int]:
    """Its threads; empty if it has ended."""
    try:
        return sorted(int(name) for name in os.listdir(f"/proc/{process}/task"))
    except OSError:
        return []


def family_of(process: int) -> list[int]:
    """The process, its children, and so on."""
    found = [process]
    for each in found:
        for thread in threads_of(each):
            found += [int(word) for line in _lines(f"/proc/{each}/task/{thread}/children") for word in line.split()]
    return found


def live_thread(process: int) -> int:
    """A thread of it that has not ended, its first one if that lives; the process itself if there is none. The first one's
    id need not be the least: ids begin anew at pid_max."""
    return next((thread for thread in (process, *threads_of(process)) if is_there(thread)), process)


def command_line(process: int) -> tuple[str, ...]:
    """Its arguments, as it may have overwritten them."""
    words = os.fsdecode(_bytes(f"/proc/{process}/cmdline")).split("\0")
    while words and not words[-1]:
        words.pop()
    return tuple(words)


def environment_of(process: int) -> tuple[tuple[str, str], ...]:
    """Its environment as it was started with, or has written over it."""
    words = (word.partition("=") for word in os.fsdecode(_bytes(f"/proc/{process}/environ")).split("\0"))
    return tuple((name, value) for name, equals, value in words if name and equals)


def executed_as(process: int) -> str:
    """The path that it was executed by, as execve(2) was given it; "" if that can't be read."""
    data = _bytes(f"/proc/{process}/auxv")
    for pair in ("=QQ", "=II"):   # the words of a 32-bit program are half as long
        size = struct.calcsize(pair)
        for key, value in struct.iter_unpack(pair, data[: len(data) // size * size]):
            if key == _EXECUTED_AS:
                return os.fsdecode(read_string(process, value) or b"")
    return ""


def identity_of(process: int) -> Identity | None:
    """Whom it runs as; None if it has ended."""
    rows = {line.partition(":")[0]: line.split()[1:] for line in _lines(f"/proc/{process}/status")}
    if "Uid" not in rows or "Gid" not in rows:
        return None
    users, groups = [int(word) for word in rows["Uid"]], [int(word) for word in rows["Gid"]]
    others = tuple(int(word) for word in rows.get("Groups", []))
    return Identity(users[1], groups[1], others, frozenset(users))


def mapped_by(process: int) -> list[Mapped]:
    """The files that are mapped, each once."""
    found: dict[str, Mapped] = {}
    for line in _lines(f"/proc/{process}/maps"):
        fields = line.split(" ", 5)
        path = fields[5].lstrip() if len(fields) == 6 else ""
        if path.startswith("/"):
            deleted = path.endswith(_DELETED)
            path = path.removesuffix(_DELETED).replace("\\012", "\n")
            known = found.get(path)
            written = fields[1][1] == "w" and fields[1][3] == "s" or (known is not None and known.written)
            found[path] = Mapped(path, written, deleted and (known is None or known.deleted), int(fields[4]))
    return list(found.values())


def descriptors_of(process: int) -> list[Descriptor]:
    """What it has open, by number. One whose number is given to another file meanwhile may be left out, but never has the
    path of one and the flags of another."""
    found = []
    for number in _numbers(f"/proc/{process}/fd"):
        try:
            # It opens no device, and waits for no one at a FIFO (open(2)).
            own = os.open(f"/proc/{process}/fd/{number}", os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        path, inode, status = os.readlink(f"/proc/self/fd/{own}"), _facts_of("self", own).get("ino"), os.fstat(own)
        os.close(own)
        # One reading is of one open file. "ino" is there since Linux 5.14, proc_pid_fdinfo(5); where it is not that of
        # stat(2), as in an overlay, it is so for both.
        facts = _facts_of(process, number)
        if "flags" in facts and facts.get("ino") == inode:
            deleted = path.endswith(_DELETED)
            where = path.removesuffix(_DELETED)
            found.append(Descriptor(where, int(facts["flags"], 8), deleted, number, status.st_mode, status.st_size))
    return found


def _facts_of(process: int | str, number: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in _lines(f"/proc/{process}/fdinfo/{number}") if ":\t" in line)


def listens_of(process: int) -> list[str]:
    """The addresses that its sockets listen on, as ADDRESS:PORT, [ADDRESS]:PORT, unix:PATH or unix-abstract:NAME."""
    own = {each.path[8:-1] for each in descriptors_of(process) if each.path.startswith("socket:[")}
    if not own:
        return []
    found: dict[str, None] = {}
    for name, state in (("tcp", _LISTENS), ("tcp6", _LISTENS), ("udp", _BOUND), ("udp6", _BOUND)):
        for line in _lines(f"/proc/{process}/net/{name}")[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == state and fields[9] in own:
                found[_address(fields[1])] = None
    for line in _lines(f"/proc/{process}/net/unix")[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and int(fields[3], 16) & _ACCEPTS and fields[6] in own:
            abstract = fields[7].startswith("@")
            found[f"unix-abstract:{fields[7][1:]}" if abstract else f"unix:{fields[7]}"] = None
    return list(found)


def _address(text: str) -> str:
    digits, _, port = text.partition(":")
    # In words of 32 bits, each as the machine has it.
    packed = b"".join(int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8))
    if len(packed) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{int(port, 16)}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{int(port, 16)}"


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on, the state; empty if there is no such process."""
    text = _bytes(f"/proc/{process}/stat")
    return text[text.rindex(b")") + 2 :].decode("ascii").split() if b")" in text else []


def _numbers(directory: str) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(directory))
    except OSError:
        return []


def _lines(path: str) -> list[str]:
    # Not splitlines: a name may hold other characters that end a line.
    text = os.fsdecode(_bytes(path))
    return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""
