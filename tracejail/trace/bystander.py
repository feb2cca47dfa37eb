"""Watching processes that run already and are not ours: each of their calls is seen, none is changed, and they must not
notice. What that takes, beside a loop over stops:

- They are seized without EXITKILL and let go by the end of the tracing thread, as a SIGKILL of the tracer lets them go.
- A signal is never in the tracer's hands alone (kernel.ptrace.wait_stop_gently).
- A call that a stop makes return with EINTR, where the kernel makes it again for no one (epoll_wait(2) and others of
  signal(7), "never restarted"), is made again, from its beginning: with its whole time-out. So it is where a signal came
  that the process ignores. The kernel drops such a one at once, but has it wake and stop a traced process first; another
  thread than the one that it woke may be the one to stop.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from tracejail.kernel import ptrace
from tracejail.kernel.processes import ignores, is_signalled, thread_group
from tracejail.kernel.ptrace import I386, X86_64, Stop, StopKind, SyscallEntry, ThreadGone
from tracejail.kernel.running import family_of, is_there, program_of, threads_of, tracer_of
from tracejail.kernel.waiting import Waiting
from tracejail.model import SyscallRecord

from .decode import record_call
from .remade import REMADE, SOCKETCALL, SOCKETCALLS
from .table import REROOTS, ROWS, Row

ENDING = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
BLOCKED = ENDING | {signal.SIGCHLD}   # what the caller must block: they are waited for
_PASSES = 100          # over the family, until nobody new is in it
_QUIET = 2             # so many times
_IDLE = 0.2            # seconds between two looks at the clock
_LOOKING = 0.0001      # seconds of looking for the next stop before going to sleep, as in .tracer


class Over(Enum):
    """Why watching came to its end."""

    ENDED = "it ended"
    TIME = "the time was over"
    TOLD = "it was told to end"


class NotWatched(Exception):
    """A process can't be seized: `number` is the errno of ptrace(2)."""

    def __init__(self, process: int, number: int) -> None:
        super().__init__(process, number)
        self.process = process
        self.number = number


@dataclass(frozen=True, slots=True)
class Ears:
    """What the watcher tells, and to whom: function values. The watched ones wait for them."""

    call: Callable[[SyscallRecord], None]     # a call of the table has returned
    born: Callable[[int], None]               # a process is there, or executes another program
    left: Callable[[int, int], None]          # one of the family can't be watched: process, errno of ptrace(2)
    watching: Callable[[int, int], None]      # the family is seized: so many processes and threads
    ended: Callable[[int, int], None] = lambda _process, _status: None   # a process has ended: status as of wait(2)
    failed: Callable[[SyscallRecord], None] | None = None   # a call that is not in the table, or names nothing, has failed


@dataclass(slots=True)
class _Thread:
    process: int
    announced: bool = False                # its maker's event, which may come after its own first stop, has come
    pending: SyscallRecord | None = None   # the call of the table that it is in
    remade: bool = False                   # its call was rewound, and has not begun again
    inside: SyscallEntry | None = None     # the call that it is in


def watch(process: int, seconds: float, rerooted: bool, ears: Ears) -> Over:
    """Watch a process and all that descends from it: until the last of them ends, for so many seconds (0: no end), or until
    SIGINT, SIGTERM or SIGHUP comes. `rerooted`: its root directory is not that of this process.

    BLOCKED must be blocked. The calling thread must end afterwards, so that the kernel lets go of them. Raises NotWatched.
    """
    loop = _Loop(ears, rerooted)
    waiting = Waiting(BLOCKED, ())
    try:
        loop.seize_family(process)
        return _go_on(loop, waiting, time.monotonic() + seconds if seconds else float("inf"))
    finally:
        waiting.close()


def _go_on(loop: _Loop, waiting: Waiting, end: float) -> Over:
    looked = next_look = 0.0
    while True:
        stops = _reports(loop)
        for stop in stops:
            loop.handle(stop)
        if not loop.threads:
            return Over.ENDED
        now = time.monotonic()
        if stops:
            looked = now
        if now >= next_look:
            next_look = now + _IDLE
        elif now - looked < _LOOKING:
            if not stops:
                os.sched_yield()  # the watched one may wait for this very CPU
            continue
        if now >= end:
            return Over.TIME
        came, _ = waiting.wait(0 if stops else min(_IDLE, end - now))
        if ENDING & came:
            return Over.TOLD


def _reports(loop: _Loop) -> list[Stop]:
    """All reports that are there now, so that a thread which stops soon again keeps no other one waiting. Signals have been
    handed on already."""
    stops = []
    with contextlib.suppress(ChildProcessError):
        while (stop := ptrace.wait_stop_gently()) is not None:
            if stop.kind is StopKind.SIGNAL:
                loop.handle(stop)
            else:
                stops.append(stop)
    return stops


class _Loop:
    """The states of all threads that are watched."""

    def __init__(self, ears: Ears, rerooted: bool) -> None:
        self.ears = ears
        self.rerooted = rerooted
        self.tables: dict[int, dict[int, Row]] = {
            X86_64: {row.x86_64: row for row in ROWS if row.x86_64 is not None},
            I386: {row.i386: row for row in ROWS if row.i386 is not None},
        }
        self.remade = {
            *((X86_64, number) for _, number, _ in REMADE if number is not None),
            *((I386, number) for _, _, number in REMADE if number is not None),
        }
        self.threads: dict[int, _Thread] = {}
        self.programs: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self.ended: set[int] = set()      # threads whose end came before the event that announces them

    def seize_family(self, first: int) -> None:
        """Attach to all threads of a process and of its descendants. Raises NotWatched for the first process."""
        left: dict[int, int] = {}
        quiet = 0
        for _ in range(_PASSES):
            # A thread that is seized brings along what it makes; one that is not may make another one meanwhile.
            new = [(process, thread) for process in family_of(first) if process not in left
                   for thread in threads_of(process) if thread not in self.threads and is_there(thread)]
            # One pass may miss a child whose sibling ends just then (proc_pid_task(5), children).
            found = [each for each in new if self._seize(*each, left)]
            quiet = 0 if found else quiet + 1
            if quiet == _QUIET:
                break
            if first in left:
                raise NotWatched(first, left[first])
        if not self.threads:
            raise NotWatched(first, left.get(first, errno.ESRCH))
        for process, number in left.items():
            self.ears.left(process, number)
        processes = {thread.process for thread in self.threads.values()}
        # Not before: until here nobody has stopped, however large the family is.
        for thread_id in self.threads:
            with contextlib.suppress(ThreadGone):
                ptrace.interrupt(thread_id)
        self.ears.watching(len(processes), len(self.threads))

    def _seize(self, process: int, thread: int, left: dict[int, int]) -> bool:
        try:
            ptrace.seize_other(thread)
            self.threads[thread] = _Thread(process, announced=True)
        except ThreadGone:
            return False
        except OSError as error:
            # One that its maker brought along between the look and the call is ours already, and will report.
            if is_there(thread) and tracer_of(thread) != threading.get_native_id():
                left[process] = error.errno or errno.EPERM
            return False
        return True

    def handle(self, stop: Stop) -> None:
        """Do what a stop asks for and let the thread go on."""
        if stop.kind is StopKind.ENDED:
            self._end(stop)
            return
        with contextlib.suppress(ThreadGone):
            thread = self.threads.get(stop.thread) or self._appear(stop.thread)
            match stop.kind:
                case StopKind.EXIT:
                    self._call(stop.thread, thread)
                case StopKind.SIGNAL:
                    self._signal(stop, thread)
                    return
                case StopKind.CHILD:
                    self._announced(stop.message)
                case StopKind.EXEC:
                    self._exec(stop, thread)
                case StopKind.GROUP:
                    ptrace.listen(stop.thread)
                    return
                case _:
                    # It was interrupted by us; or by a SIGCONT, which stops each thread of a seized process (prepare_signal
                    # in kernel/signal.c) and none of another one.
                    self._make_again(stop.thread, thread)
            ptrace.resume(stop.thread, to_exit=True)

    def _announced(self, thread_id: int) -> None:
        if thread_id in self.ended:
            self.ended.discard(thread_id)  # it has come and gone before its maker could tell of it
            return
        thread = self.threads.get(thread_id) or self._appear(thread_id)
        thread.announced = True

    def _appear(self, thread_id: int) -> _Thread:
        process = thread_group(thread_id)
        thread = self.threads[thread_id] = _Thread(process)
        if process == thread_id:
            self.ears.born(process)
        return thread

    def _make_again(self, thread_id: int, thread: _Thread) -> None:
        """A call that returns with EINTR for us, and not for a signal that the program is to see, is made again."""
        call = ptrace.interrupted_call(thread_id)
        if call is None or is_signalled(thread_id):
            return
        if call[:2] in self.remade or (call[:2] == (I386, SOCKETCALL) and call[2] in SOCKETCALLS):
            ptrace.rewind(thread_id)
            thread.remade = True

    def _signal(self, stop: Stop, thread: _Thread) -> None:
        if ignores(stop.thread, stop.signal):
            if not thread.remade:
                self._make_again(stop.thread, thread)
        elif thread.remade:
            # It would have ended the call without us, too: a program may wait for that.
            thread.remade = False
            ptrace.undo_rewind(stop.thread)
        ptrace.resume(stop.thread, stop.signal, to_exit=True)

    def _call(self, thread_id: int, thread: _Thread) -> None:
        at = ptrace.syscall_stop(thread_id)
        if isinstance(at, SyscallEntry):
            thread.remade, thread.inside = False, at
            row = self.tables.get(at.architecture, {}).get(at.number)
            thread.pending = self._record(thread_id, thread, row, at) if row is not None else None
            return
        inside, thread.inside = thread.inside, None
        if at == -errno.EINTR:
            self._make_again(thread_id, thread)
        if thread.pending is not None and at is not None:
            record, thread.pending = thread.pending, None
            self.rerooted = self.rerooted or (record.syscall in REROOTS and at >= 0)
            self.ears.call(replace(record, result=at))
        elif self.ears.failed and inside is not None and at is not None and at < 0 and at != -errno.EINTR:
            self.ears.failed(self._other(thread_id, thread, inside, at))

    def _record(self, thread_id: int, thread: _Thread, row: Row, entry: SyscallEntry) -> SyscallRecord | None:
        program = self._program(thread_id, thread)
        return record_call(thread_id, thread.process, program, row, entry, rerooted=self.rerooted)

    def _other(self, thread_id: int, thread: _Thread, entry: SyscallEntry, result: int) -> SyscallRecord:
        row = self.tables.get(entry.architecture, {}).get(entry.number)
        if entry.architecture == X86_64 and not self.names:
            self.names = ptrace.syscall_names()
        known = self.names.get(entry.number, "") if entry.architecture == X86_64 else ""
        name = row.name if row is not None else known or f"system call {entry.number}"
        architecture = "i386" if entry.architecture == I386 else "x86-64"
        program = self._program(thread_id, thread)
        return SyscallRecord(thread.process, thread_id, program, name, architecture, (), 0, result, entry.words)

    def _program(self, thread_id: int, thread: _Thread) -> str:
        program = self.programs.get(thread.process)
        if program is None:
            program = self.programs[thread.process] = program_of(thread_id)
        return program

    def _exec(self, stop: Stop, thread: _Thread) -> None:
        # See .tracer: an exec by a thread that is not the leader is told under the leader's id.
        if stop.message != stop.thread:
            former = self.threads.pop(stop.message, None)
            thread.pending = former.pending if former is not None else None
            thread.inside = former.inside if former is not None else None
            if former is not None and not former.announced:
                self.ended.add(stop.message)
        thread.process = stop.thread
        thread.remade = False
        self.programs.pop(stop.thread, None)
        self.ears.born(stop.thread)

    def _end(self, stop: Stop) -> None:
        thread = self.threads.pop(stop.thread, None)
        if thread is not None and not thread.announced:
            self.ended.add(stop.thread)
        if thread is None or thread.process == stop.thread:
            self.ears.ended(stop.thread, stop.status)
        self.programs.pop(stop.thread, None)
