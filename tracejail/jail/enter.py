"""Starting targets in a tree: private namespaces, pivot_root, a small init, capabilities as containers have them.

All that needs the host's files (names, modules, codecs) is done before: in the tree nothing may be loaded.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
from dataclasses import dataclass, field

from tracejail.errors import KernelLacksError
from tracejail.kernel import capabilities, mounts, namespaces, seccomp
from tracejail.kernel.identities import Powers, powers
from tracejail.kernel.syscalls import libc

from . import proc

# What container runtimes give, without mknod: it would open any disk of the host, as no device cgroup guards it here.
_KEPT = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot audit_write setfcap"
)
CAPABILITIES = frozenset(capabilities.NAMES.index(name) for name in _KEPT.split())
_PTMX = "/dev/ptmx"   # belongs to the devpts beside it, so that the host's would not do
_PR_SET_PDEATHSIG = 1
_HIGH = 64   # descriptors that no target is to see are moved above those that it is given


@dataclass(frozen=True, slots=True)
class Stage:
    """Where targets are started: a tree as the root, and namespaces of their own. `root` is a descriptor of the root of a
    detached mount."""

    root: int
    private_network: bool = True
    mounts: tuple[tuple[str, str], ...] = ()   # (file system type, path in the tree)
    devices: tuple[tuple[str, str], ...] = ()  # (device file outside, path in the tree), bound where none can be made
    attached: tuple[tuple[int, str], ...] = () # (descriptor of a detached mount, path in the tree), the upper ones first


@dataclass(frozen=True, slots=True)
class Launch:
    """How a target is started."""

    argv: tuple[str, ...]
    program: str                       # path in the tree
    environment: dict[str, str]
    directory: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    umask: int = -1                    # -1: the caller's
    kept: tuple[int, ...] | None = None   # capabilities; None: none, and for root the usual ones (CAPABILITIES)
    filter: bytes = b""                # packed seccomp filter
    standard: tuple[int, int, int] = (0, 1, 2)
    sockets: tuple[int, ...] = ()      # handed over as descriptors 3 and on, sd_listen_fds(3)
    terminal: bool = False             # the target gets the caller's terminal as its foreground job


@dataclass(frozen=True, slots=True)
class Started:
    """A target that waits for `go`; its process id as the caller sees it."""

    target: int
    channel: socket.socket = field(repr=False)

    def go(self) -> None:
        """Let it execute its program."""
        self.channel.send(b"go")

    def failure(self) -> str:
        """Why it could not be started, after it ended; "" if it was. To be asked once."""
        with contextlib.suppress(OSError), self.channel:
            self.channel.settimeout(0)
            return self.channel.recv(4096).decode("utf-8", "replace")
        return ""


def set_stage(stage: Stage) -> int:
    """Make the namespaces with the tree as their root; gives their first process, which dies with the caller and takes all
    that is in them along. Raises KernelLacksError naming what is missing."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        init = namespaces.fork_into(None)
        if init == 0:
            _init(stage, ours, theirs)
    except OSError as error:
        raise KernelLacksError(
            f"a new pid namespace: {os.strerror(error.errno or 0)}", "run as root (sudo), outside a tight container"
        ) from None
    finally:
        theirs.close()
    with ours:
        told = ours.recv(4096)
    if told != b"ready":
        os.kill(init, signal.SIGKILL)
        os.waitpid(init, 0)
        cause = told.decode("utf-8", "replace") or "its init ended"
        raise KernelLacksError(f"starting the trial: {cause}", "it takes root and a kernel with namespaces (5.6 or later)")
    return init


def start(launch: Launch, init: int = 0) -> Started:
    """Fork a target, on the stage whose first process is `init`; 0 leaves it on the host's own files, processes and
    network, as a tracer of host programs wants it. It dies with the caller. Raises KernelLacksError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    able = powers()
    target = namespaces.fork_into(init) if init else os.fork()
    if target == 0:
        _target(launch, init, able, ours, theirs)
    theirs.close()
    told = ours.recv(4096)
    if told != b"ready":
        os.kill(target, signal.SIGKILL)
        os.waitpid(target, 0)
        ours.close()
        cause = told.decode("utf-8", "replace") or "it ended"
        raise KernelLacksError(f"starting {launch.program}: {cause}", "see whether the machine has memory and processes left")
    return Started(target, ours)


def add_device(init: int, device: str, path: str) -> None:
    """Bind a device file of the outside on a path of a stage that is set already. Raises OSError."""
    mount = mounts.clone(device)
    try:
        child = os.fork()
        if child == 0:
            try:
                namespaces.enter(init, "mnt")
                mounts.attach(mount, path)
                os._exit(0)
            finally:
                os._exit(1)
        if os.waitpid(child, 0)[1] != 0:
            raise OSError(errno.EPERM, f"{device} could not be bound on {path}")
    finally:
        os.close(mount)


def _init(stage: Stage, ours: socket.socket, theirs: socket.socket) -> None:
    """The first process of the pid namespace: sets the stage, then reaps orphans until it is killed. Never returns."""
    try:
        ours.close()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        able = powers()
        _enter_root(stage)
        _reap(theirs, able)
    except BaseException as error:  # whatever it is, it must be told
        with contextlib.suppress(OSError):
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            theirs.send(words.encode()[:4096])
    finally:
        os._exit(0)


def _enter_root(stage: Stage) -> None:
    flags = namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS
    namespaces.unshare(flags | (namespaces.NEWNET if stage.private_network else 0))
    if stage.private_network:
        namespaces.raise_loopback()
    mounts.make_private()
    # A user namespace may have a proc of its own only while it sees a whole one: they are made before the root is left.
    made = [(_new(file_system), path) for file_system, path in stage.mounts]
    bound = [(_device(device), path) for device, path in stage.devices if path != _PTMX]
    # Any directory will do: the mount moves from here to the root at once.
    mounts.attach(stage.root, "/proc")
    mounts.enter_root(stage.root)
    for descriptor, path in (*stage.attached, *made, *bound):
        mounts.attach(descriptor, path)
    for file_system, path in stage.mounts:
        _finish(file_system, path, any(path == _PTMX for _, path in stage.devices))


def _device(device: str) -> int:
    """A device file of the outside, to be bound: it can be used, and its owner and mode can't be changed through it."""
    mount = mounts.clone(device)
    try:
        mounts.set_read_only(mount)
    except OSError as error:
        # Before Linux 5.12. Without root of the outside nobody changes them anyway.
        if error.errno != errno.ENOSYS or powers().everybody:
            raise
    return mount


def _reap(channel: socket.socket, able: Powers) -> None:
    """Wait for orphans, and have nothing that a target could use."""
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)  # the kernel keeps what has no handler from a first process
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    if able.everybody:
        capabilities.limit(set())
        capabilities.hide()
    else:
        # What hides it from targets would hide it from the learner, which has no power over memory that is older than the
        # namespace. A capability that no target has keeps them away as well: ptrace(2), "Ptrace access mode checking".
        capabilities.limit({capabilities.SYS_PTRACE})
    channel.send(b"ready")
    os.closerange(0, 1 << 16)
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        signal.sigwait({signal.SIGCHLD})


def _new(file_system: str) -> int:
    """A mount of this type, attached nowhere."""
    if file_system == "proc":
        return mounts.prepare("proc", {}, proc.FLAGS)
    if file_system == "sysfs":
        try:
            return mounts.prepare("sysfs", {}, proc.FLAGS | mounts.MS_RDONLY)
        except PermissionError:  # in a user namespace with the host's network: sysfs shows a network
            return mounts.clone("/sys", recursive=True)
    if file_system == "devpts":
        return mounts.prepare("devpts", {"ptmxmode": "0666", "mode": "0620"}, mounts.MS_NOSUID | mounts.MS_NOEXEC)
    raise OSError(f"no rule to mount {file_system}")


def _finish(file_system: str, path: str, bind_ptmx: bool) -> None:
    if file_system == "proc":
        proc.shut()
    elif file_system == "devpts" and bind_ptmx:
        mounts.mount(f"{path}/ptmx", _PTMX, "", mounts.MS_BIND)


def _enter_stage(init: int) -> None:
    """All namespaces of a stage but that of its processes, which a child is born into; and its root."""
    # O_PATH: a real open of a directory that the starter itself watches would wait for it for ever.
    root = os.open(f"/proc/{init}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in ("net", "ipc", "uts", "mnt"):
        # Into the host's network, where the trial has no other, nobody may enter who left the first user namespace.
        if name != "net" or not namespaces.is_in(init, name):
            namespaces.enter(init, name)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)


def _hand_over(launch: Launch, environment: dict[bytes, bytes]) -> None:
    """The sockets of a service manager, as sd_listen_fds(3) finds them. No descriptor that is needed later is below 64."""
    kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH) for descriptor in launch.sockets]
    for position, descriptor in enumerate(kept):
        os.dup2(descriptor, 3 + position, inheritable=True)
    if kept:
        environment[b"LISTEN_PID"] = b"%d" % os.getpid()
        environment[b"LISTEN_FDS"] = b"%d" % len(kept)


def _target(launch: Launch, init: int, able: Powers, ours: socket.socket, theirs: socket.socket) -> None:
    """Become the target. Never returns; what fails is told through the channel, which the exec closes."""
    channel = socket.socket(fileno=fcntl.fcntl(theirs.detach(), fcntl.F_DUPFD_CLOEXEC, _HIGH))
    try:
        ours.close()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if init:
            _enter_stage(init)
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
        libc.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)  # from here on ptrace sees to it, PTRACE_O_EXITKILL
        arguments = [os.fsencode(word) for word in launch.argv]
        environment = {os.fsencode(key): os.fsencode(value) for key, value in launch.environment.items()}
        _hand_over(launch, environment)
        os.closerange(3 + len(launch.sockets), channel.fileno())
        os.closerange(channel.fileno() + 1, 1 << 16)
        os.chdir(launch.directory)
        if launch.umask >= 0:
            os.umask(launch.umask)
        privileged = capabilities.SYS_ADMIN in capabilities.effective()
        if launch.filter:
            seccomp.install(launch.filter, privileged)
        if init or launch.uid:
            if able.set_groups:
                os.setgroups([group for group in launch.groups if able.group(group) >= 0])
            group = able.group(launch.gid)
            os.setresgid(group, group, group)
        if init:  # the sets are cut while there still is the capability to do so
            capabilities.limit(set(CAPABILITIES))
        if init and launch.kept is not None:
            capabilities.limit_bounding({*launch.kept})
            capabilities.keep_over_change(bool(launch.kept))
        if init or launch.uid:
            user = able.user(launch.uid)
            os.setresuid(user, user, user)
        if init and launch.kept is not None:
            capabilities.have_only({*launch.kept})
        if not able.everybody:
            capabilities.show()  # the learner is to read the path of the exec that follows
        os.execve(launch.program, arguments, environment)
    except OSError as error:
        with contextlib.suppress(OSError):
            channel.send(f"{launch.program}: {os.strerror(error.errno or 0)}".encode())
    finally:
        os._exit(127)
