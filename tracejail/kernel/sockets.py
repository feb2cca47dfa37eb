"""What the kernel says of the sockets of another process, without talking to them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from dataclasses import dataclass

from .namespaces import enter
from .syscalls import syscall

_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
_LISTEN = "0A"   # TCP_LISTEN, linux/tcp_states.h
# sock_diag(7): struct nlmsghdr, struct unix_diag_req and unix_diag_msg, and the attributes that follow.
_NETLINK_SOCK_DIAG, _BY_FAMILY, _REQUEST_DUMP, _ERROR, _DONE = 4, 20, 0x301, 2, 3
_SHOW_PEER, _PEER = 4, 2
_header, _request, _answer, _attribute = map(struct.Struct, ("=IHHII", "=BBHIIIII", "=BBBBI8x", "=HH"))
_ALL_STATES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Peer:
    """A connected AF_UNIX socket of a process: the path that the other side was bound to, as that spelled it. `gone`: the
    other side has been closed, and the process may not have heard of it."""

    descriptor: int
    path: str
    datagrams: bool
    gone: bool


def is_datagram(process: int, descriptor: int) -> bool:
    """Whether a descriptor of a process is a socket that receives without listen(2). Where that can't be known (Linux
    before 5.6, a process that has ended) it is not."""
    try:
        with _same(process, descriptor) as same:
            return same.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
    except OSError:
        return False


def _same(process: int, descriptor: int) -> socket.socket:
    """The very socket, as a descriptor of ours. Raises OSError."""
    whole = syscall(_PIDFD_OPEN, process, 0)
    try:
        return socket.socket(fileno=syscall(_PIDFD_GETFD, whole, descriptor, 0))
    finally:
        os.close(whole)


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
            with _same(process, descriptor) as same:
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
            with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as line:
                _ask(line, found)

    asking = threading.Thread(target=ask, name="sockets")
    asking.start()
    asking.join()
    return found


def _ask(line: socket.socket, found: dict[int, int]) -> None:
    request = _request.pack(socket.AF_UNIX, 0, 0, _ALL_STATES, 0, _SHOW_PEER, _ALL_STATES, _ALL_STATES)
    line.settimeout(5)
    line.send(_header.pack(_header.size + len(request), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
    while True:
        data = line.recv(1 << 17)
        at = 0
        while at + _header.size <= len(data):
            length, kind, *_ = _header.unpack_from(data, at)
            if kind in (_DONE, _ERROR) or length < _header.size:
                return
            inode = _answer.unpack_from(data, at + _header.size)[4]
            place = at + _header.size + _answer.size
            while place + _attribute.size <= at + length:
                size, name = _attribute.unpack_from(data, place)
                if name == _PEER:
                    found[inode] = struct.unpack_from("=I", data, place + _attribute.size)[0]
                place += max(size + 3 & ~3, _attribute.size)
            at += length + 3 & ~3


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


def listening_ports(process: int) -> set[int]:
    """The TCP ports that somebody listens on in the network namespace of a process (/proc/PID/net/tcp, proc(5))."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{process}/net/{name}", encoding="ascii") as stream:
                rows = [line.split() for line in stream][1:]
        except OSError:
            continue
        found |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTEN}
    return found
