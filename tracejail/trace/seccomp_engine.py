"""The engine that stops at each path-carrying call through a seccomp filter: works on every kernel since 5.3, also
where BPF is refused. One stop a call at its entry, a second one at its exit only where the hooks ask for the result.
"""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass, replace

from tracejail.kernel import ptrace, seccomp
from tracejail.kernel.processes import thread_group
from tracejail.kernel.ptrace import I386, X86_64, Stop, StopKind, ThreadGone
from tracejail.model import SyscallRecord

from .decode import link_of, record_call
from .engine import Answer, Engine, Hooks, Interrupted
from .table import ROWS, Decode, Row

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_WAITED = _ENDING | {signal.SIGCHLD}
_IDLE_EVERY = 0.05  # seconds between two calls of the idle hook while stops keep coming


def _tables() -> dict[int, dict[int, Row]]:
    x86_64 = {row.x86_64: row for row in ROWS if row.x86_64 is not None}
    i386 = {row.i386: row for row in ROWS if row.i386 is not None}
    return {X86_64: x86_64, I386: i386}


def seccomp_engine() -> Engine:
    """The engine as a value."""
    rules = {
        architecture: {number: row.trace for number, row in rows.items()}
        for architecture, rows in _tables().items()
    }
    return Engine("seccomp", seccomp.pack(seccomp.assemble(rules)), _run)


@dataclass(slots=True)
class _Thread:
    process: int                          # thread group id; 0 while not asked for
    pending: SyscallRecord | None = None  # the call whose exit is waited for


def _run(target: int, hooks: Hooks) -> None:
    """Trace until the idle hook says that it is over.

    SIGCHLD, SIGINT, SIGTERM and SIGHUP must be blocked in the calling thread: they are waited for with
    sigtimedwait(2), so that nothing polls. Raises Interrupted for the last three.
    """
    loop = _Loop(hooks)
    loop.threads[target] = _Thread(target)
    asked = time.monotonic()
    while True:
        try:
            stop = ptrace.wait_stop(block=False)
        except ChildProcessError:
            stop = None
        if stop is not None:
            loop.handle(stop)
        now = time.monotonic()
        if stop is None or now - asked > _IDLE_EVERY:
            wait = hooks.idle()
            asked = time.monotonic()
            if wait is None:
                return
            if stop is None:
                information = signal.sigtimedwait(_WAITED, max(wait, 0.001))
                if information is not None and information.si_signo in _ENDING:
                    raise Interrupted(information.si_signo)


class _Loop:
    """The states of all threads of the target."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.tables = _tables()
        self.threads: dict[int, _Thread] = {}
        self.programs: dict[int, str] = {}

    def handle(self, stop: Stop) -> None:
        """Do what a stop asks for and let the thread go on."""
        if stop.kind is StopKind.ENDED:
            self._end(stop)
            return
        with contextlib.suppress(ThreadGone):
            thread = self.threads.get(stop.thread)
            if thread is None:  # a child may report before its parent's event does
                thread = self.threads[stop.thread] = _Thread(0)
            match stop.kind:
                case StopKind.SECCOMP:
                    self._enter(stop.thread, thread)
                case StopKind.EXIT:
                    self._exit(stop.thread, thread)
                case StopKind.CHILD:
                    self.threads.setdefault(stop.message, _Thread(0))
                    ptrace.resume(stop.thread, to_exit=thread.pending is not None)
                case StopKind.EXEC:
                    self._exec(stop, thread)
                case StopKind.SIGNAL:
                    ptrace.resume(stop.thread, stop.signal, to_exit=thread.pending is not None)
                case StopKind.GROUP:
                    ptrace.listen(stop.thread)
                case _:
                    ptrace.resume(stop.thread, to_exit=thread.pending is not None)

    def _enter(self, thread_id: int, thread: _Thread) -> None:
        entry = ptrace.syscall_entry(thread_id)
        row = self.tables.get(entry.architecture, {}).get(entry.number)
        wanted = False
        if row is not None:
            process = self._process(thread_id, thread)
            program = self.programs.get(process)
            if program is None:
                program = self.programs[process] = link_of(thread_id, "exe")
            record = record_call(thread_id, process, program, row, entry)
            if row.name == "clone":
                ptrace.set_argument(thread_id, entry.architecture, 0, entry.words[0] & ~0x00800000)
            elif record is not None and (row.decode is Decode.EVENT or record.syscall == "listen"):
                self.hooks.event(record)
            elif record is not None:
                wanted = self.hooks.enter(record)
                thread.pending = record if wanted else None
        ptrace.resume(thread_id, to_exit=wanted)

    def _exit(self, thread_id: int, thread: _Thread) -> None:
        record, thread.pending = thread.pending, None
        if record is not None:
            finished = replace(record, result=ptrace.syscall_result(thread_id))
            if self.hooks.finish(finished) is Answer.RETRY:
                ptrace.rewind(thread_id)
        ptrace.resume(thread_id)

    def _exec(self, stop: Stop, thread: _Thread) -> None:
        # An exec by a thread that is not the leader: the event comes under the leader's id, and the old id never
        # reports its end (ptrace(2), "execve(2) under ptrace").
        if stop.message != stop.thread:
            former = self.threads.pop(stop.message, None)
            thread.pending = former.pending if former else None
        thread.process = stop.thread
        self.programs.pop(stop.thread, None)
        ptrace.resume(stop.thread, to_exit=thread.pending is not None)

    def _end(self, stop: Stop) -> None:
        thread = self.threads.pop(stop.thread, None)
        if thread is None or thread.process in (0, stop.thread):
            self.programs.pop(stop.thread, None)
            self.hooks.ended(stop.thread, stop.status)

    def _process(self, thread_id: int, thread: _Thread) -> int:
        if thread.process == 0:
            thread.process = thread_group(thread_id)
        return thread.process
