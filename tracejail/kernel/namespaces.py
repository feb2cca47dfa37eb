"""Namespaces: leaving the host's (unshare(2)), entering another's (setns(2)), and a loopback that is up."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterator

from .syscalls import libc, syscall

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_UNSHARE, _CLONE = 272, 56
_CLONE_PARENT = 0x8000
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


def is_in(process: int, name: str) -> bool:
    """Whether the calling process is in the namespace of `process` of this name already."""
    return os.readlink(f"/proc/{process}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")


def fork_into(process: int | None) -> int:
    """fork(2), where the child is born in the pid namespace of `process`, or (None) as the first process of a new one. Raises
    OSError."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Whoever came into a user namespace has no power over the pid namespace that it is in, and could not return to it.
        if libc.setns(own, NEWPID) < 0:
            return _fork_by_another(process)
        _lead_children_into(process)
        child = -1
        try:
            child = os.fork()
        finally:
            if child:
                libc.setns(own, NEWPID)
        return child
    finally:
        os.close(own)


def _lead_children_into(process: int | None) -> None:
    if process is None:
        unshare(NEWPID)
    else:
        enter(process, "pid")


def _fork_by_another(process: int | None) -> int:
    """The same through a child that goes there and makes its sibling there: one whose parent is this process, and not it."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    between = os.fork()
    if between == 0:
        try:
            _lead_children_into(process)
            number = _fork_sibling()
        except OSError as error:
            number = -(error.errno or errno.EIO)
        if number == 0:
            os.close(ours)
            os.close(theirs)
            return 0
        os.write(theirs, b"%d" % number)
        os._exit(0)
    os.close(theirs)
    try:
        number = int(os.read(ours, 32) or -errno.EIO)
    finally:
        os.close(ours)
        os.waitpid(between, 0)
    if number < 0:
        raise OSError(-number, os.strerror(-number))
    return number


def _fork_sibling() -> int:
    """clone(2) with CLONE_PARENT, as fork(2) else. Under the interpreter's lock, and with what it does around a fork."""
    call = ctypes.PyDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    around = ctypes.pythonapi
    around.PyOS_BeforeFork()
    made: int = call(*map(ctypes.c_long, (_CLONE, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)))
    if made == 0:
        around.PyOS_AfterFork_Child()
        return 0
    around.PyOS_AfterFork_Parent()
    if made < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return made


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
