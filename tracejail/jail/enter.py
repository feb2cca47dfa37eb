"""Starting a target in a tree: private namespaces, pivot_root, a small init, capabilities as containers have them.

All that needs the host's files (names, modules, codecs) is done before: in the tree nothing may be loaded.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from dataclasses import dataclass, field

from tracejail.errors import KernelLacksError
from tracejail.kernel import capabilities, mounts, namespaces, seccomp
from tracejail.kernel.syscalls import libc

# What container runtimes give, without mknod: it would open any disk of the host, as no device cgroup guards it here.
_KEPT = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot audit_write setfcap"
)
CAPABILITIES = frozenset(capabilities.NAMES.index(name) for name in _KEPT.split())
# Parts of /proc that change the kernel for all: read-only in a trial.
_PROC_READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
_READ_ONLY = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_SHIELDED = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class Launch:
    """How a target is started. `root` is a descriptor of the root of a detached mount; -1 leaves the target on the
    host's own files, processes and network, as a tracer of host programs wants it."""

    argv: tuple[str, ...]
    program: str                       # path in the tree
    environment: dict[str, str]
    root: int
    directory: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    private_network: bool = True
    mounts: tuple[tuple[str, str], ...] = ()   # (file system type, path in the tree)
    filter: bytes = b""                # packed seccomp filter
    standard: tuple[int, int, int] = (0, 1, 2)
    terminal: bool = False             # the target gets the caller's terminal as its foreground job


@dataclass(frozen=True, slots=True)
class Started:
    """A target that waits for `go`; process ids as the caller sees them."""

    init: int
    target: int
    channel: socket.socket = field(repr=False)

    def go(self) -> None:
        """Let it execute its program."""
        self.channel.send(b"go")

    def failure(self) -> str:
        """Why it could not be started, after it ended; "" if it was."""
        with contextlib.suppress(OSError):
            self.channel.settimeout(0)
            return self.channel.recv(4096).decode("utf-8", "replace")
        return ""


def start(launch: Launch) -> Started:
    """Fork the init and the target; both die with the caller. Raises KernelLacksError naming what is missing."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            if launch.root >= 0:
                namespaces.unshare(namespaces.NEWPID)
        except OSError as error:
            raise KernelLacksError(
                f"a new pid namespace: {os.strerror(error.errno or 0)}", "run as root (sudo), outside a tight container"
            ) from None
        init = os.fork()
        if init == 0:
            _init(launch, ours, theirs)
        libc.setns(own_pids, namespaces.NEWPID)
    finally:
        os.close(own_pids)
    theirs.close()
    while True:
        data, ancillary, _, _ = ours.recvmsg(4096, socket.CMSG_SPACE(12))
        if data != b"ready":
            os.kill(init, signal.SIGKILL)
            os.waitpid(init, 0)
            ours.close()
            cause = data.decode("utf-8", "replace") or "its init ended"
            hint = "it takes root and a kernel with namespaces (5.6 or later)"
            raise KernelLacksError(f"starting the trial: {cause}", hint)
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                return Started(init, struct.unpack("=iII", value)[0], ours)


def _init(launch: Launch, ours: socket.socket, theirs: socket.socket) -> None:
    """The first process of the pid namespace: sets the stage, forks the target, reaps. Never returns."""
    try:
        ours.close()
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if launch.root >= 0:
            _enter_root(launch)
        if os.fork() == 0:
            _target(launch, theirs)
        _reap(theirs)
    except BaseException as error:  # whatever it is, it must be told
        with contextlib.suppress(OSError):
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            theirs.send(words.encode()[:4096])
    finally:
        os._exit(0)


def _enter_root(launch: Launch) -> None:
    flags = namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS
    namespaces.unshare(flags | (namespaces.NEWNET if launch.private_network else 0))
    if launch.private_network:
        namespaces.raise_loopback()
    mounts.make_private()
    # Any directory will do: the mount moves from here to the root at once.
    mounts.attach(launch.root, "/proc")
    mounts.enter_root(launch.root)
    for file_system, path in launch.mounts:
        _mount(file_system, path)


def _reap(channel: socket.socket) -> None:
    """Wait for all children, and have nothing that a target could use."""
    channel.close()
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)  # the kernel keeps what has no handler from a first process
    os.closerange(0, 1 << 16)
    capabilities.limit(set())
    capabilities.hide()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _mount(file_system: str, path: str) -> None:
    if file_system == "proc":
        mounts.mount("proc", path, "proc", _READ_ONLY)
        for part in _PROC_READ_ONLY:
            with contextlib.suppress(OSError):  # not all kernels have them all
                mounts.mount(part, part, "", mounts.MS_BIND)
                mounts.mount("", part, "", mounts.MS_BIND | mounts.MS_REMOUNT | mounts.MS_RDONLY | _READ_ONLY)
    elif file_system == "sysfs":
        mounts.mount("sysfs", path, "sysfs", _READ_ONLY | mounts.MS_RDONLY)
    elif file_system == "devpts":
        options = "newinstance,ptmxmode=0666,mode=0620"
        mounts.mount("devpts", path, "devpts", mounts.MS_NOSUID | mounts.MS_NOEXEC, options)
    else:
        raise OSError(f"no rule to mount {file_system}")


def _target(launch: Launch, channel: socket.socket) -> None:
    """Become the target. Never returns; what fails is told through the channel, which the exec closes."""
    try:
        if launch.terminal:
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
            with contextlib.suppress(OSError):
                os.tcsetpgrp(launch.standard[0], os.getpgrp())
        else:
            os.setsid()
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        for position, descriptor in enumerate(launch.standard):
            os.dup2(descriptor, position, inheritable=True)
        channel.send(b"ready")
        if channel.recv(16) != b"go":
            return
        arguments = [os.fsencode(word) for word in launch.argv]
        environment = {os.fsencode(key): os.fsencode(value) for key, value in launch.environment.items()}
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, 1 << 16)
        os.chdir(launch.directory)
        privileged = capabilities.SYS_ADMIN in capabilities.effective()
        if launch.filter:
            seccomp.install(launch.filter, privileged)
        if launch.root >= 0 or launch.uid:
            os.setgroups(launch.groups)
            os.setresgid(launch.gid, launch.gid, launch.gid)
        if launch.root >= 0:  # the sets are cut while there still is the capability to do so
            capabilities.limit(set(CAPABILITIES))
        os.setresuid(launch.uid, launch.uid, launch.uid)
        os.execve(launch.program, arguments, environment)
    except OSError as error:
        with contextlib.suppress(OSError):
            channel.send(f"{launch.program}: {os.strerror(error.errno or 0)}".encode())
    finally:
        os._exit(127)
