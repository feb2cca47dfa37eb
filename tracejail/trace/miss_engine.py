"""The miss-only engine: x86-64 calls that succeed never stop, but for a few rare ones. A BPF program at the return of
system calls stops the thread where a call missed; a small seccomp filter stops it at the entry of the calls that must be
known beforehand, and refuses those that would hide others. i386 calls stop at their entry, as with the other engine.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from tracejail.kernel import seccomp
from tracejail.kernel.ptrace import I386, X86_64
from tracejail.kernel.seccomp import Action

from .engine import Engine
from .miss_program import FAILURES
from .seccomp_engine import seccomp_rules
from .session import session
from .table import ROWS, Watch

_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, linux/proc_ns.h


class Refused(Exception):
    """This kernel, or the privileges at hand, do not allow the engine; says why."""


@contextlib.contextmanager
def miss_engine(failures: tuple[int, ...] = FAILURES, note_calls: bool = False) -> Iterator[Engine]:
    """The engine as a value, for the while of the block; `note_calls`: it notes which calls are made. Raises Refused."""
    _check()
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(session(failures, note_calls))
        except OSError as error:
            why = {errno.EPERM: " (it takes CAP_BPF and CAP_PERFMON, or root)", errno.ENOSYS: " (no CONFIG_BPF_SYSCALL)"}
            raise Refused(f"{error.strerror}{why.get(error.errno or 0, '')}") from None
        yield Engine("bpf", seccomp.pack(seccomp.assemble(miss_rules())), running)


def _check() -> None:
    if os.uname().machine != "x86_64":
        raise Refused(f"it knows the registers of x86-64 only, and this is {os.uname().machine}")
    # bpf_get_current_pid_tgid gives ids of the first pid namespace, ptrace(2) those of the caller's.
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        raise Refused("/proc is not mounted here") from None
    if namespace != _FIRST_PID_NAMESPACE:
        raise Refused("this is a pid namespace of its own, as in a container, and BPF has the ids of the first one")


def miss_rules() -> dict[int, dict[int, Action]]:
    """What the filter says of each call, by architecture and number."""
    x86_64: dict[int, Action] = {}
    for row in ROWS:
        action = row.trace if row.watch is Watch.ENTRY else row.entry
        if row.x86_64 is not None and action is not None:
            x86_64[row.x86_64] = action
    return {X86_64: x86_64, I386: seccomp_rules()[I386]}
