"""Calls that take a capability (capabilities(7)), and those that a seccomp filter refuses or kills."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from tracejail.model import NEVER

from .consequence import weighed
from .facts import REFUSED, Call, Facts
from .finding import Action, Confidence, Finding, Kind

_KILLED = 159         # 128 and SIGSYS
_FILTERED = 2         # State.seccomp
_FIRST_FREE = 1024    # the first port that any user may have (ip(7), ip_unprivileged_port_start)
_BIND = (10, "net_bind_service")

# By call: the number and the name of the capability that it takes, where it takes one.
_TAKES: dict[str, tuple[int, str]] = {
    **dict.fromkeys(("chown", "lchown", "fchown", "fchownat"), (0, "chown")),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat", "utime", "utimes", "utimensat"), (3, "fowner")),
    **dict.fromkeys(("setgid", "setregid", "setresgid", "setgroups", "setfsgid"), (6, "setgid")),
    **dict.fromkeys(("setuid", "setreuid", "setresuid", "setfsuid"), (7, "setuid")),
    **dict.fromkeys(("mlock", "mlock2", "mlockall"), (14, "ipc_lock")),
    **dict.fromkeys(("mount", "umount2", "pivot_root", "setns", "unshare", "sethostname", "setdomainname", "swapon"),
                    (21, "sys_admin")),
    **dict.fromkeys(("setpriority", "sched_setscheduler", "sched_setaffinity", "sched_setattr"), (23, "sys_nice")),
    **dict.fromkeys(("setrlimit", "prlimit64"), (24, "sys_resource")),
    **dict.fromkeys(("settimeofday", "clock_settime", "adjtimex", "clock_adjtime"), (25, "sys_time")),
    **dict.fromkeys(("mknod", "mknodat"), (27, "mknod")),
    "socket": (13, "net_raw"), "kill": (5, "kill"), "chroot": (18, "sys_chroot"), "ptrace": (19, "sys_ptrace"),
    "reboot": (22, "sys_boot"), "syslog": (34, "syslog"), "capset": (8, "setpcap"), "acct": (20, "sys_pacct"),
}
# Calls that any user may make: a filter alone says EPERM.
_FREE = frozenset((
    "open", "openat", "openat2", "read", "write", "stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat",
    "faccessat2", "getdents64", "readlink", "readlinkat", "mkdir", "mkdirat", "getrandom", "uname", "clone", "clone3", "fork",
    "vfork", "brk", "pipe", "pipe2", "dup", "dup2", "dup3", "getpid", "getuid", "socketpair", "poll", "ppoll", "select",
    "epoll_create1", "eventfd2", "futex", "rseq", "set_robust_list", "nanosleep", "clock_gettime", "clock_nanosleep",
    "sysinfo", "getcwd", "chdir", "memfd_create", "sched_yield", "wait4", "pread64", "fcntl", "lseek",
))

_NEW = frozenset(("clone3", "rseq", "statx", "faccessat2", "openat2", "memfd_create"))


def capabilities(facts: Facts) -> Iterator[Finding]:
    """A call that takes a capability which the program had not then."""
    found: dict[tuple[str, int], list[Call]] = {}
    for call in facts.failed(*REFUSED):
        takes = _taken(call)
        if takes is not None and call.state is not None and takes[0] not in call.state.capabilities:
            found.setdefault((call.name, takes[0]), []).append(call)
    for (name, number), calls in found.items():
        call = calls[0]
        program, uid = call.record.program or facts.program, call.state.uid if call.state else 0
        word = (_taken(call) or (number, ""))[1]
        what = f"{name} of {call.record.address.removeprefix('inet:')}" if call.record.address else name
        confidence, quiet = weighed(facts, calls)
        if uid == 0 and number in facts.withheld:
            yield Finding(
                "withheld", Confidence.POSSIBLE, program,
                f"{name} takes cap_{word}, which this trial withholds from it: outside it may be allowed",
                (), tuple(calls), quiet=True,
            )
            continue
        yield Finding(
            "capability", confidence, program,
            f"{what} is refused to user {uid}: it takes the capability cap_{word}, which {program} has not then",
            (Action(Kind.ADVICE, program, text=_advice(number, word)),), tuple(calls),
            evidence=(f"user {uid}, cap_{word} not among its capabilities",), weight=20, quiet=quiet,
        )


def _taken(call: Call) -> tuple[int, str] | None:
    if call.name != "bind":
        return _TAKES.get(call.name)
    port = call.record.address.rpartition(":")[2]
    is_low = call.record.address.startswith("inet:") and port.isdigit() and 0 < int(port) < _FIRST_FREE
    return _BIND if is_low and call.result == -errno.EACCES else None


def _advice(number: int, word: str) -> str:
    if number == _BIND[0]:
        return (
            "start it as root and let it become another user after its bind, give it cap_net_bind_service "
            "(AmbientCapabilities=CAP_NET_BIND_SERVICE of its unit), or a port from 1024 on"
        )
    return f"start it with cap_{word} (as root, or AmbientCapabilities= of its unit), or configure it not to ask for it"


def filters(facts: Facts) -> Iterator[Finding]:
    """A call that a seccomp filter refused, though it takes no privilege."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(-errno.EPERM, -errno.ENOSYS):
        if call.result == -errno.ENOSYS and call.name in _NEW:
            continue  # libraries do without them
        if call.name in _FREE and call.state is not None and call.state.seccomp == _FILTERED:
            found.setdefault(call.name, []).append(call)
    for name, calls in found.items():
        program = calls[0].record.program or facts.program
        confidence, quiet = weighed(facts, calls)
        says = errno.errorcode[-calls[0].result]
        or_so = "" if says == "ENOSYS" else ", or let it say ENOSYS for calls it denies"
        yield Finding(
            "filtered", confidence, program,
            f"{name} takes no privilege, and is refused to {program}: a seccomp filter says {says}",
            (Action(Kind.ADVICE, program, text=f"allow {name} in the seccomp filter{or_so}"),),
            tuple(calls), evidence=("/proc/PID/status: Seccomp 2",), weight=25, quiet=quiet,
        )


def killed(facts: Facts) -> Iterator[Finding]:
    """A process that a seccomp filter ended."""
    for end in facts.run.ends if facts.run else ():
        if end.status != _KILLED:
            continue
        calls = tuple(call for call in facts.calls() if call.result == NEVER and call.record.process == end.process)
        name = calls[-1].name if calls else "a call"
        program = end.program or facts.program
        yield Finding(
            "filter-kills", Confidence.CERTAIN, program, f"{program} was killed by SIGSYS in {name}: a seccomp filter denies it",
            (Action(Kind.ADVICE, program, text=f"allow {name} in the seccomp filter of {program}"),), calls[-1:],
            evidence=("it ended by SIGSYS",), weight=25,
        )
