"""Watching a process that runs already: which ones can't be watched, and the manner in which it is done."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

from tracejail.errors import KernelLacksError, UsageError
from tracejail.kernel import capabilities
from tracejail.kernel.processes import thread_group
from tracejail.kernel.ptrace import let_go_after
from tracejail.kernel.running import is_kernel_thread, is_there, name_of, parent_of, tracer_of
from tracejail.kernel.waiting import blocked
from tracejail.trace.bystander import BLOCKED, ENDING, Ears, NotWatched, Over, watch


def watch_aside(process: int, seconds: float, rerooted: bool, ears: Ears, meanwhile: Callable[[], None]) -> Over:
    """See trace.bystander.watch; the processes do not wait for `meanwhile`, which is called now and then. They are let go when
    this returns. Raises UsageError, KernelLacksError."""
    over = [Over.ENDED]

    def work() -> None:
        over[0] = watch(process, seconds, rerooted, ears)

    try:
        with blocked(BLOCKED):
            let_go_after(work, meanwhile)
            if over[0] is Over.TOLD:  # once is enough: timeout(1) tells a process and its group
                while signal.sigtimedwait(ENDING, 0):
                    pass
    except NotWatched as refused:
        raise _why_not(refused) from None
    return over[0]


def watching_words(name: str, processes: int, threads: int, seconds: float) -> str:
    """That it is watched, as a line."""
    until = f"for {seconds:g} s, or until ^C" if seconds else "until ^C"
    many = f"{processes} process{'es' if processes > 1 else ''}, {threads} thread{'s' if threads > 1 else ''}"
    return f"watches {name} ({many}) {until}; each of its calls stops twice"


def left_words(process: int, number: int) -> str:
    """That one of a family could not be watched, and why: `number` is the errno of ptrace(2)."""
    reason = f"process {tracer_of(process)} traces it" if tracer_of(process) else os.strerror(number)
    return f"one of its processes, {name_of(process)}, was not watched: {reason}"


def need_root() -> None:
    """Raises KernelLacksError."""
    if capabilities.SYS_ADMIN not in capabilities.effective():
        raise KernelLacksError("to watch another's process takes root", "call it with sudo")


def check_process(process: int, option: str) -> None:
    """Raises UsageError for one that can't be watched, or must not be; `option` is the one that named it."""
    if not is_there(process):
        raise UsageError(f"process {process}: No such process", "pidof NAME, or systemctl status NAME, tells its number")
    leader = thread_group(process)
    if leader != process:
        raise UsageError(f"{process} is a thread of process {leader}", f"{option} {leader}")
    if is_kernel_thread(process):
        raise UsageError(f"process {process} ({name_of(process)}) is a part of the kernel", "it has no files to be looked at")
    above = os.getpid()
    while above:
        if above == process:
            what = "is tracejail itself" if process == os.getpid() else "has started this tracejail, and would wait for it"
            raise UsageError(f"process {process} ({name_of(process)}) {what}", "call it from elsewhere, say by systemd-run(1)")
        above = parent_of(above)


def _why_not(refused: NotWatched) -> Exception:
    process = refused.process
    if refused.number == errno.ESRCH:
        return UsageError(f"process {process}: it has ended just now", "name one that runs")
    tracer = thread_group(tracer_of(process)) if tracer_of(process) else 0
    if tracer:
        hint = "a process has one tracer at most: end that one first"
        return UsageError(f"process {process} is traced already, by process {tracer} ({name_of(tracer)})", hint)
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as stream:
            scope = stream.read().strip()
    except OSError:
        scope = ""
    cause = f"process {process}: ptrace: {os.strerror(refused.number)}"
    if scope == "3":
        return KernelLacksError(f"{cause} (kernel.yama.ptrace_scope is 3: nobody may)", "only a reboot takes that back")
    return KernelLacksError(cause, "it takes CAP_SYS_PTRACE, and a security module that lets it: not in a container")
