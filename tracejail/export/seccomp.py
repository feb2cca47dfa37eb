"""A seccomp profile of the OCI (runtime-spec, config-linux.md): what the program was seen to call, and a baseline.

What is not in it fails with ENOSYS, as on a kernel that lacks it: programs fall back then, where EPERM would be an answer.
So with clone3(2), whose flags no filter can see, and which was refused while the program was learned: clone(2) is made then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from tracejail.errors import ExportError
from tracejail.model import Manifest

from .request import Request

_NO_SUCH_CALL = 38   # ENOSYS

# What a run may do without, and the next one not.
BASELINE: dict[str, tuple[str, ...]] = {
    "the C library, where the vDSO has no answer, or memory grows": (
        "brk", "clock_getres", "clock_gettime", "getcpu", "gettimeofday", "madvise", "mmap", "mprotect", "mremap",
        "munmap", "time",
    ),
    "threads, their locks and their ends": (
        "exit", "exit_group", "futex", "futex_waitv", "get_robust_list", "gettid", "membarrier", "restart_syscall",
        "rseq", "sched_getaffinity", "sched_yield", "set_robust_list", "set_tid_address",
    ),
    "signals: what a handler, abort(3) and a wait that is interrupted take": (
        "getpid", "kill", "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn",
        "rt_sigsuspend", "sigaltstack", "tgkill",
    ),
    "what is open already": (
        "close", "dup", "dup2", "fcntl", "fstat", "lseek", "newfstatat", "openat", "poll", "ppoll", "pread64",
        "read", "readv", "write", "writev",
    ),
    "an error path that says the time, or waits": ("clock_nanosleep", "getrandom", "nanosleep", "uname"),
    "the runtime, which may apply the profile before its last steps (without no_new_privs)": (
        "arch_prctl", "capget", "capset", "chdir", "close_range", "execve", "faccessat2", "fchdir", "fstatfs",
        "getdents64", "getppid", "ioctl", "prctl", "prlimit64", "readlinkat", "setgid", "setgroups", "setresgid",
        "setresuid", "setuid", "statx",
    ),
}


def seccomp(request: Request) -> Iterator[bytes]:
    """The profile as JSON."""
    names = allowed(request.manifest)
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _NO_SUCH_CALL,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    }
    yield json.dumps(document, indent=1).encode("ascii") + b"\n"


def allowed(manifest: Manifest) -> list[str]:
    """The calls that were seen and those of the baseline, by name. Raises ExportError where none were noted."""
    if not manifest.syscalls:
        hint = "learn it with --syscalls (as root: engine bpf)"
        raise ExportError("the manifest does not say which system calls the program makes", hint)
    unnamed = [name for name in manifest.syscalls if not name.isidentifier()]
    if unnamed:
        raise ExportError(f"system call {unnamed[0]!r} has no name that is known here", "a later tracejail may know it")
    return sorted({*manifest.syscalls, *(name for names in BASELINE.values() for name in names)})
