"""What the kernel says of AF_UNIX sockets without talking to them: sock_diag(7), and the descriptors of other processes."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from .namespaces import enter
from .sockets import same_socket

_NETLINK_SOCK_DIAG, _BY_FAMILY, _REQUEST_DUMP, _ERROR, _DONE = 4, 20, 0x301, 2, 3
# struct nlmsghdr, unix_diag_req, unix_diag_msg, and the attributes that follow (linux/netlink.h, linux/unix_diag.h).
_HEADER, _REQUEST = struct.Struct("=IHHII"), struct.Struct("=BBHIIIII")
_ANSWER, _ATTRIBUTE = struct.Struct("=BBBBI8x"), struct.Struct("=HH")
_ALL_STATES = 0xFFFFFFFF
_SHOW_FILE, _FILE = 2, 1      # UDIAG_SHOW_VFS, UNIX_DIAG_VFS: inode and device of the file that it is bound to
_SHOW_PEER, _PEER = 4, 2      # UDIAG_SHOW_PEER, UNIX_DIAG_PEER: the inode of the other side
_LISTEN = 10                  # TCP_LISTEN, of linux/tcp_states.h
_PATIENCE = 5.0               # seconds for an answer


@dataclass(frozen=True, slots=True)
class _Told:
    type: int
    state: int
    inode: int
    value: bytes     # of the attribute that was asked for; b"" where it has none


@dataclass(frozen=True, slots=True)
class Peer:
    """A connected AF_UNIX socket of a process: the path that the other side was bound to, as that spelled it. `gone`: the
    other side has been closed, and the process may not have heard of it."""

    descriptor: int
    path: str
    datagrams: bool
    gone: bool


def listened() -> frozenset[tuple[int, int]]:
    """The files of sockets that somebody listens on in the caller's network namespace, as (st_dev, st_ino); empty where the
    kernel does not tell."""
    return frozenset(file for file, _ in _listening())


def listeners(files: frozenset[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Of those of `files`, as `listened` has them, on which somebody listens, a process that does."""
    wanted = {inode: file for file, inode in _listening() if file in files}
    found: dict[tuple[int, int], int] = {}
    for name in os.listdir("/proc") if wanted else ():
        with contextlib.suppress(OSError, ValueError):  # it has ended, or is no process
            process = int(name)
            for descriptor in os.listdir(f"/proc/{process}/fd"):
                target = os.readlink(f"/proc/{process}/fd/{descriptor}")
                if target.startswith("socket:[") and int(target[8:-1]) in wanted:
                    found.setdefault(wanted[int(target[8:-1])], process)
    return found


def _listening() -> list[tuple[tuple[int, int], int]]:
    """The file and the socket's own inode of each of them."""
    found: list[tuple[tuple[int, int], int]] = []
    with contextlib.suppress(OSError):
        for told in _ask(_SHOW_FILE, _FILE):
            if told.value and (told.state == _LISTEN or told.type == socket.SOCK_DGRAM):
                inode, device = struct.unpack_from("=II", told.value)
                found.append(((os.makedev(device >> 20, device & 0xFFFFF), inode), told.inode))  # as the kernel has it within
    return found


def peers_of(process: int) -> list[Peer]:
    """Its sockets that are connected to one with a path; none where that can't be known."""
    own: dict[int, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for name in os.listdir(f"/proc/{process}/fd"):
            target = os.readlink(f"/proc/{process}/fd/{name}")
            if target.startswith("socket:["):
                own[int(target[8:-1])] = int(name)
    partners = _partners(process) if own else {}
    found = []
    for inode, descriptor in sorted(own.items(), key=lambda pair: pair[1]):
        if inode not in partners:
            continue
        with contextlib.suppress(OSError):  # it is not connected, or has been closed
            with same_socket(process, descriptor) as same:
                path, kind = same.getpeername(), same.type
            if isinstance(path, bytes):
                path = os.fsdecode(path)
            if isinstance(path, str) and path and not path.startswith("\0"):
                found.append(Peer(descriptor, path, kind == socket.SOCK_DGRAM, partners[inode] == 0))
    return found


def _partners(process: int) -> dict[int, int]:
    """Of the connected AF_UNIX sockets in the network namespace of a process, by inode: the inode of the other side, 0 where
    that has been closed."""
    found: dict[int, int] = {}

    def ask() -> None:
        # In a thread, as the namespace is the calling thread's.
        with contextlib.suppress(OSError):
            enter(process, "net")
            found.update({told.inode: struct.unpack_from("=I", told.value)[0] for told in _ask(_SHOW_PEER, _PEER) if told.value})

    asking = threading.Thread(target=ask, name="sockets")
    asking.start()
    asking.join()
    return found


def is_listened_to(descriptor: int) -> bool:
    """Whether somebody is bound to a socket of the file system, which is open here (O_PATH). Nobody hears of the question: a
    stream is not reached by one of datagrams (EPROTOTYPE), and one of datagrams is told of no connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(f"/proc/self/fd/{descriptor}")
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def _ask(show: int, attribute: int) -> Iterator[_Told]:
    """All AF_UNIX sockets of the calling thread's network namespace, each with one attribute. Raises OSError."""
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _ALL_STATES, 0, show, _ALL_STATES, _ALL_STATES)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as line:
        line.settimeout(_PATIENCE)
        line.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
        while True:
            data = line.recv(1 << 18)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind in (_DONE, _ERROR) or length < _HEADER.size:
                    return
                yield _told(data[at + _HEADER.size : at + length], attribute)
                at += length + 3 & ~3


def _told(data: bytes, attribute: int) -> _Told:
    _, sort, state, _, inode = _ANSWER.unpack_from(data)
    at = _ANSWER.size
    while at + _ATTRIBUTE.size <= len(data):
        size, name = _ATTRIBUTE.unpack_from(data, at)
        if name == attribute:
            return _Told(sort, state, inode, data[at + _ATTRIBUTE.size : at + size])
        at += max(size + 3 & ~3, _ATTRIBUTE.size)
    return _Told(sort, state, inode, b"")
