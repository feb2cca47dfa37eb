"""Who listens on which socket of the file system: sock_diag(7), for the network namespace of the caller."""

from __future__ import annotations

import os
import socket
import struct

_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_SHOW_FILE = 0x2                  # UDIAG_SHOW_VFS
_FILE = 1                         # UNIX_DIAG_VFS
_LISTEN, _DATAGRAM = 10, 2
_HEADER, _MESSAGE, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBIII"), struct.Struct("=HH")


def listened() -> frozenset[tuple[int, int]]:
    """The sockets that somebody listens on, as (st_dev, st_ino); empty where the kernel does not tell."""
    body = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_FILE, 0, 0)
    found: set[tuple[int, int]] = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as asked:
            asked.send(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST | _DUMP, 1, 0) + body)
            while _take(asked.recv(1 << 18), found):
                pass
    except OSError:
        return frozenset()
    return frozenset(found)


def _take(data: bytes, found: set[tuple[int, int]]) -> bool:
    """The sockets of one answer; whether there are more to come."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, *_ = _HEADER.unpack_from(data, at)
        if kind in (_DONE, _ERROR) or size < _HEADER.size:
            return False
        _, sort, state, *_ = _MESSAGE.unpack_from(data, at + _HEADER.size)
        attribute = at + _HEADER.size + _MESSAGE.size
        while attribute + _ATTRIBUTE.size <= at + size:
            length, name = _ATTRIBUTE.unpack_from(data, attribute)
            if name == _FILE and (state == _LISTEN or sort == _DATAGRAM):
                inode, device = struct.unpack_from("=II", data, attribute + _ATTRIBUTE.size)
                found.add((os.makedev(device >> 20, device & 0xFFFFF), inode))  # as the kernel has it within
            if length < _ATTRIBUTE.size:
                break
            attribute += (length + 3) & ~3
        at += (size + 3) & ~3
    return True
