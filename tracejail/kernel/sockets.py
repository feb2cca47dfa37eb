"""What the kernel says of the sockets of another process, without talking to them."""

from __future__ import annotations

import os
import socket

from .syscalls import syscall

_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
_LISTEN = "0A"   # TCP_LISTEN, linux/tcp_states.h


def is_datagram(process: int, descriptor: int) -> bool:
    """Whether a descriptor of a process is a socket that receives without listen(2). Where that can't be known (Linux
    before 5.6, a process that has ended) it is not."""
    try:
        with same_socket(process, descriptor) as same:
            return same.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
    except OSError:
        return False


def same_socket(process: int, descriptor: int) -> socket.socket:
    """The very socket of a process, as a descriptor of ours. Raises OSError."""
    whole = syscall(_PIDFD_OPEN, process, 0)
    try:
        return socket.socket(fileno=syscall(_PIDFD_GETFD, whole, descriptor, 0))
    finally:
        os.close(whole)


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
