"""From a stopped thread and a row of the syscall table to a SyscallRecord. The only reader of a tracee's memory."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import replace

from tracejail.kernel.memory import read_memory, read_string
from tracejail.kernel.ptrace import I386, SyscallEntry
from tracejail.model import PathArgument, SyscallRecord, Want

from .table import SOCKETCALLS, Decode, Path, Row

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW, _AT_SYMLINK_FOLLOW, _AT_EMPTY_PATH = 0x100, 0x400, 0x1000
_O_TMPFILE = 0o20000000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_NGROUPS_MAX = 65536  # linux/limits.h


def link_of(thread: int, name: str) -> str:
    """What /proc/THREAD/NAME points to, as a path of the tracee's own mount namespace; "" where it has none.

    The kernel ends the name of a deleted object with " (deleted)" (d_path); such a name leads nowhere.
    """
    try:
        target = os.readlink(f"/proc/{thread}/{name}")
    except OSError:
        return ""
    return target if target.startswith("/") and not target.endswith(" (deleted)") else ""


def record_call(
    thread: int, process: int, program: str, row: Row, entry: SyscallEntry, result: int = 0,
    rerooted: bool = True,
) -> SyscallRecord | None:
    """Read all that the call names; where no process was `rerooted`, the root directory is known to be /. None where
    nothing is to be known: an unreadable or an empty path, a socket address of another family."""
    architecture = "i386" if entry.architecture == I386 else "x86-64"
    if row.decode is Decode.PATHS:
        arguments, flags = _paths(thread, row, entry, rerooted)
        if not arguments:
            return None
        return SyscallRecord(process, thread, program, row.name, architecture, arguments, flags, result, entry.words)
    record = SyscallRecord(process, thread, program, row.name, architecture, (), result=result, words=entry.words)
    match row.decode:
        case Decode.LISTING:
            directory = link_of(thread, f"fd/{_descriptor(entry.words[0])}")
            if not directory:
                return None
            return replace(record, arguments=(PathArgument(directory, "/", "/", Want.LIST),))
        case Decode.ADDRESS:
            return _with_address(record, entry.words[1], entry.words[2])
        case Decode.SEND_ADDRESS:
            return _with_address(record, entry.words[4], entry.words[5])
        case Decode.MESSAGE | Decode.MESSAGES:
            # struct msghdr (and the first member of struct mmsghdr): the address and its length come first.
            small = entry.architecture == I386
            header = read_memory(thread, entry.words[1], 8 if small else 16)
            if len(header) < (8 if small else 16):
                return None
            address, length = struct.unpack_from("=II" if small else "=QI", header)
            return _with_address(record, address, length)
        case Decode.IDS | Decode.SHORT_IDS:
            return replace(record, words=_ids(thread, entry, "I" if row.decode is Decode.IDS else "H"))
        case Decode.SOCKETCALL:
            return _with_socketcall(record, entry)
        case _:
            return record


def _ids(thread: int, entry: SyscallEntry, letter: str) -> tuple[int, ...]:
    """The array of ids that a call is given; as much of it as can be read, and as the kernel takes."""
    width = struct.calcsize(letter)
    size = min(entry.words[0] & 0xFFFFFFFF, _NGROUPS_MAX) * width
    data = b""
    while len(data) < size:
        piece = read_memory(thread, entry.words[1] + len(data), min(size - len(data), 4096))
        if not piece:
            break
        data += piece
    return struct.unpack(f"={len(data) // width}{letter}", data[: len(data) // width * width])


def _descriptor(word: int) -> int:
    value = word & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _paths(thread: int, row: Row, entry: SyscallEntry, rerooted: bool) -> tuple[tuple[PathArgument, ...], int]:
    """The paths that the call names, and its open flags."""
    flags = 0
    if row.open_flags is not None:
        flags = entry.words[row.open_flags] & 0xFFFFFFFF
    elif row.how is not None:
        how = read_memory(thread, entry.words[row.how], 8)
        flags = struct.unpack("=Q", how)[0] if len(how) == 8 else 0
    elif row.name == "creat":
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    at_flags = entry.words[row.at_flags] & 0xFFFFFFFF if row.at_flags is not None else 0
    root = (link_of(thread, "root") or "/") if rerooted else "/"
    arguments = []
    for path in row.paths:
        spelled = read_string(thread, entry.words[path.argument])
        if spelled == b"" and path.want is Want.EXECUTE and at_flags & _AT_EMPTY_PATH:
            # The program is an open file; what it needs beside itself, its interpreter, is looked up by path.
            spelled = os.fsencode(_start(thread, path, entry))
        if spelled:  # any other empty path is about a descriptor that is there
            arguments.append(_argument(thread, row, entry, path, os.fsdecode(spelled), flags, at_flags, root))
    return tuple(arguments), flags


def _argument(
    thread: int, row: Row, entry: SyscallEntry, path: Path, spelled: str, flags: int, at_flags: int, root: str
) -> PathArgument:
    want, follow = path.want, path.follow
    if row.open_flags is not None or row.how is not None:
        if flags & os.O_CREAT and flags & _O_TMPFILE != _O_TMPFILE:
            want = Want.CREATE
        follow = not (flags & os.O_NOFOLLOW or (flags & os.O_CREAT and flags & os.O_EXCL))
    if at_flags & _AT_SYMLINK_NOFOLLOW:
        follow = False
    if at_flags & _AT_SYMLINK_FOLLOW and want is not Want.CREATE:
        follow = True
    if row.how is not None:
        # open_how.resolve: with RESOLVE_IN_ROOT the directory descriptor is the root of this look-up.
        extra = read_memory(thread, entry.words[row.how] + 16, 8)
        if len(extra) == 8 and struct.unpack("=Q", extra)[0] & 0x10:
            root = _start(thread, path, entry) or root
            return PathArgument(spelled, root, root, want, follow)
    # An executed script may name its interpreter from the working directory.
    base = "" if spelled.startswith("/") and want is not Want.EXECUTE else _start(thread, path, entry)
    return PathArgument(spelled, base, root, want, follow)


def _start(thread: int, path: Path, entry: SyscallEntry) -> str:
    if path.directory is None:
        return link_of(thread, "cwd")
    descriptor = _descriptor(entry.words[path.directory])
    return link_of(thread, "cwd" if descriptor == _AT_FDCWD else f"fd/{descriptor}")


def _with_address(record: SyscallRecord, address: int, length: int) -> SyscallRecord | None:
    data = read_memory(record.thread, address, min(length & 0xFFFFFFFF, 128)) if address else b""
    if len(data) < 3:
        return None
    family = struct.unpack_from("=H", data)[0]
    if family == _AF_UNIX:
        if data[2] == 0:
            return replace(record, address="unix-abstract:" + os.fsdecode(data[3:]))
        spelled = os.fsdecode(data[2:].split(b"\0")[0])
        base = "" if spelled.startswith("/") else link_of(record.thread, "cwd")
        want = Want.CREATE if record.syscall == "bind" else Want.SOCKET
        root = link_of(record.thread, "root") or "/"
        return replace(record, arguments=(PathArgument(spelled, base, root, want, follow=want is Want.SOCKET),))
    if family == _AF_INET and len(data) >= 8:
        port, packed = struct.unpack_from("!H4s", data, 2)
        return replace(record, address=f"inet:{socket.inet_ntop(socket.AF_INET, packed)}:{port}")
    if family == _AF_INET6 and len(data) >= 24:
        port, _, packed = struct.unpack_from("!HI16s", data, 2)
        return replace(record, address=f"inet:[{socket.inet_ntop(socket.AF_INET6, packed)}]:{port}")
    return None


def _with_socketcall(record: SyscallRecord, entry: SyscallEntry) -> SyscallRecord | None:
    name = SOCKETCALLS.get(entry.words[0])
    if name is None:
        return None
    raw = read_memory(record.thread, entry.words[1], 24)
    words = struct.unpack("=6I", raw) if len(raw) == 24 else None
    record = replace(record, syscall=name)
    if name == "listen" or words is None:
        return record
    if name in ("bind", "connect"):
        return _with_address(record, words[1], words[2])
    if name == "sendto":
        return _with_address(record, words[4], words[5])
    header = read_memory(record.thread, words[1], 8)
    return _with_address(record, *struct.unpack("=II", header)) if len(header) == 8 else None
