"""Namespaces: leaving the host's (unshare(2)), entering another's (setns(2)), and a loopback that is up."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator

from .syscalls import libc, syscall

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_UNSHARE = 272
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def unshare(flags: int) -> None:
    """Leave the namespaces named by NEW* flags; NEWPID takes effect for the children. Raises OSError."""
    syscall(_UNSHARE, flags)


def enter(process: int, name: str) -> None:
    """Enter a namespace of `process` by its name in /proc/PID/ns; "pid" takes effect for the children. Raises OSError."""
    descriptor = os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, 0) < 0:
            raise OSError(ctypes.get_errno(), f"setns into the {name} namespace: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def raise_loopback() -> None:
    """Set the loopback interface of this network namespace up (netdevice(7), SIOCSIFFLAGS)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack_from("16sH", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


@contextlib.contextmanager
def network_namespace(process: int) -> Iterator[None]:
    """The calling thread is in the network namespace of `process` for the while of the block."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    other = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(other, NEWNET) < 0:
            raise OSError("setns into the target's network namespace failed")
        try:
            yield
        finally:
            libc.setns(own, NEWNET)
    finally:
        os.close(other)
        os.close(own)
