"""The loop over stops: the states of the target's threads, and from each stop to a record for the hooks."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from dataclasses import dataclass, replace

from tracejail.kernel import ptrace
from tracejail.kernel.processes import thread_group
from tracejail.kernel.ptrace import I386, X86_64, Stop, StopKind, SyscallEntry, ThreadGone
from tracejail.kernel.waiting import Waiting
from tracejail.model import NEVER, SyscallRecord, Want

from .decode import link_of, record_call
from .engine import Answer, Engine, Hooks, Interrupted
from .miss_program import NOWHERE, REAL
from .table import EVENTS, REROOTS, ROWS, Decode, Row, Watch

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_WAITED = _ENDING | {signal.SIGCHLD}
_NOT_THERE = (-errno.ENOENT, -errno.ENOTDIR)
_STOPS = 16    # between two looks at the other sources while stops keep coming
# Seconds of looking for the next stop before going to sleep. It is often but microseconds away, and to be woken on a CPU
# that has gone idle takes 50 microseconds on a virtual machine (measured: 129 a stop with sleep at once, 44 without idling).
_LOOKING = 0.0001


@dataclass(slots=True)
class _Thread:
    process: int                          # thread group id; 0 while not asked for
    pending: SyscallRecord | None = None  # the call whose exit is waited for
    mixed: bool = False                   # it has made i386 calls
    announced: bool = False               # its maker's event, which may come after its own first stop, has come
    inside: SyscallEntry | None = None    # the call that it is in, where each is heard of


def trace(engine: Engine, hooks: Hooks, ignored: frozenset[int] = frozenset()) -> None:
    """Trace the seized threads that the idle hook makes, and all that they make, until it says that it is over. Signals
    that are `ignored` do not reach them.

    SIGCHLD, SIGINT, SIGTERM and SIGHUP must be blocked in the calling thread: they are waited for, so that nothing
    polls. Raises Interrupted for the last three.
    """
    loop = _Loop(hooks, engine, ignored)
    waiting = Waiting(_WAITED, hooks.sources)
    try:
        _go_on(loop, hooks, waiting)
    finally:
        waiting.close()
        loop.forget()


def _go_on(loop: _Loop, hooks: Hooks, waiting: Waiting) -> None:
    next_idle, count = 0.0, 0
    while True:
        stop = _next_stop(_LOOKING if count else 0)
        if stop is not None:
            loop.handle(stop)
            count += 1
            if stop.kind is StopKind.ENDED:
                next_idle = 0.0
            if count % _STOPS:
                continue
        now = time.monotonic()
        count = 0 if stop is None else count
        if now >= next_idle:
            wait = hooks.idle()
            if wait is None:
                return
            while hooks.newcomers:
                newcomer = hooks.newcomers.pop()
                loop.born(newcomer, newcomer)
                loop.threads[newcomer].announced = True
                if loop.every:
                    ptrace.interrupt(newcomer)  # from a stop on, each of its calls can be made to stop
                wait = 0.0
            next_idle = time.monotonic() + wait
        else:
            wait = next_idle - now
        came, readable = waiting.wait(0 if stop is not None else max(wait, 0.001))
        for number in _ENDING & came:
            raise Interrupted(number)
        for descriptor in readable:
            hooks.sources[descriptor]()


def _next_stop(seconds: float) -> Stop | None:
    end = 0.0
    while True:
        try:
            stop = ptrace.wait_stop(block=False)
        except ChildProcessError:
            return None
        if stop is not None or not seconds:
            return stop
        now = time.monotonic()
        end = end or now + seconds
        if now >= end:
            return None
        os.sched_yield()  # the target may wait for this very CPU


class _Loop:
    """The states of all threads of the target."""

    def __init__(self, hooks: Hooks, engine: Engine, ignored: frozenset[int]) -> None:
        self.hooks = hooks
        self.ignored = ignored
        self.session = engine.session
        self.every = engine.every
        self.names = ptrace.syscall_names() if engine.every else {}
        self.tables: dict[int, dict[int, Row]] = {
            X86_64: {row.x86_64: row for row in ROWS if row.x86_64 is not None},
            I386: {row.i386: row for row in ROWS if row.i386 is not None},
        }
        self.threads: dict[int, _Thread] = {}
        self.programs: dict[int, str] = {}
        self.short_lived: set[int] = set()   # threads that have ended and are still to be announced
        self.rerooted = False      # a process has, or may have, another root directory than /

    def born(self, thread_id: int, process: int) -> None:
        """A thread that has not run yet; `process` 0 where it may be one of another process."""
        if thread_id not in self.threads:
            self.threads[thread_id] = _Thread(process)
            if self.session:
                self.session.add(thread_id)
                if process == 0:  # else it is still our own child, on its way to its first exec
                    self.session.count(thread_id)
            if process == 0:
                self._process(thread_id, self.threads[thread_id])
            if self.threads[thread_id].process == thread_id:
                self.hooks.started(thread_id)

    def _announced(self, thread_id: int) -> None:
        if thread_id in self.short_lived:
            self.short_lived.discard(thread_id)  # it has come and gone before its maker could tell of it
            return
        self.born(thread_id, 0)
        self.threads[thread_id].announced = True

    def forget(self) -> None:
        """At the end: nothing of this run stays in the kernel."""
        if self.session:
            self.session.forget_paths()
            for thread_id in list(self.session.threads):
                self.session.remove(thread_id)

    def handle(self, stop: Stop) -> None:
        """Do what a stop asks for and let the thread go on."""
        if stop.kind is StopKind.ENDED:
            self._end(stop)
            return
        with contextlib.suppress(ThreadGone):
            thread = self.threads.get(stop.thread)
            if thread is None:  # a child may report before its parent's event does
                self.born(stop.thread, 0)
                thread = self.threads[stop.thread]
            match stop.kind:
                case StopKind.SECCOMP:
                    self._enter(stop.thread, thread)
                case StopKind.EXIT if self.every:
                    self._call(stop.thread, thread)
                case StopKind.EXIT:
                    self._exit(stop.thread, thread)
                case StopKind.SIGNAL:
                    if self.session and stop.signal == signal.SIGSTOP and ptrace.sent_by_kernel(stop.thread):
                        self._returned(stop.thread, thread)
                    else:
                        delivered = 0 if stop.signal in self.ignored else stop.signal
                        ptrace.resume(stop.thread, delivered, to_exit=self._to_exit(thread))
                case StopKind.CHILD:
                    self._announced(stop.message)
                    ptrace.resume(stop.thread, to_exit=self._to_exit(thread))
                case StopKind.EXEC:
                    self._exec(stop, thread)
                case StopKind.GROUP:
                    ptrace.listen(stop.thread)
                case _:
                    ptrace.resume(stop.thread, to_exit=self._to_exit(thread))

    def _to_exit(self, thread: _Thread) -> bool:
        """Whether the exit of the thread's call is to be reported by ptrace; the BPF program reports x86-64 ones."""
        return self.every or thread.pending is not None and not (self.session and thread.pending.architecture == "x86-64")

    def _record(
        self, thread_id: int, thread: _Thread, row: Row, entry: SyscallEntry, result: int = 0
    ) -> SyscallRecord | None:
        process = self._process(thread_id, thread)
        program = self.programs.get(process)
        if program is None:
            program = self.programs[process] = link_of(thread_id, "exe")
        return record_call(thread_id, process, program, row, entry, result, self.rerooted)

    def _call(self, thread_id: int, thread: _Thread) -> None:
        """A stop at the entry or the exit of any call."""
        at = ptrace.syscall_stop(thread_id)
        if isinstance(at, SyscallEntry):
            thread.inside = at
            self._enter(thread_id, thread, at)
            return
        inside, thread.inside = thread.inside, None
        if at is not None and thread.pending is not None:
            self.hooks.heard(replace(thread.pending, result=at))
            self._exit(thread_id, thread)
            return
        if at is not None and at < 0 and inside is not None:
            self.hooks.heard(self._unknown(thread_id, thread, inside, at))
        ptrace.resume(thread_id, to_exit=True)

    def _unknown(self, thread_id: int, thread: _Thread, entry: SyscallEntry, result: int) -> SyscallRecord:
        """A call that is not in the table, or that named no path."""
        process = self._process(thread_id, thread)
        row = self.tables.get(entry.architecture, {}).get(entry.number)
        known = self.names.get(entry.number, "") if entry.architecture == X86_64 else ""
        name = row.name if row is not None else known or f"system call {entry.number}"
        architecture = "i386" if entry.architecture == I386 else "x86-64"
        program = self.programs.get(process) or link_of(thread_id, "exe")
        return SyscallRecord(process, thread_id, program, name, architecture, (), 0, result, entry.words)

    def _enter(self, thread_id: int, thread: _Thread, entry: SyscallEntry | None = None) -> None:
        entry = entry or ptrace.syscall_entry(thread_id)
        row = self.tables.get(entry.architecture, {}).get(entry.number)
        thread.pending = None
        if row is not None:
            thread.mixed = entry.architecture == I386
            if self.session and thread.mixed:
                self.session.foreign = True
            self.rerooted = self.rerooted or row.name in REROOTS
            if self.session and (row.changes or row.name in REROOTS):
                self.session.forget_paths()
            record = self._record(thread_id, thread, row, entry)
            if row.name == "clone":
                ptrace.set_argument(thread_id, entry.architecture, 0, entry.words[0] & ~0x00800000)
            elif record is not None and (row.decode in EVENTS or record.syscall == "listen"):
                self.hooks.event(record)
                if row.decode in EVENTS and self.hooks.pretend(record):
                    ptrace.set_result(thread_id, 0, instead=True)
            elif record is not None and self.hooks.enter(record):
                self._want_exit(thread_id, thread, row, record)
            if self.every:
                thread.pending = record
        ptrace.resume(thread_id, to_exit=self._to_exit(thread))

    def _want_exit(self, thread_id: int, thread: _Thread, row: Row, record: SyscallRecord) -> None:
        if self.session and record.architecture == "x86-64":
            # A failure is told anyway. Success matters where it changes what is there.
            if not row.changes and not any(argument.want is Want.REMOVE for argument in record.arguments):
                return
            self.session.tell(thread_id)
        thread.pending = record

    def _exit(self, thread_id: int, thread: _Thread) -> None:
        record, thread.pending = thread.pending, None
        if record is not None:
            finished = replace(record, result=ptrace.syscall_result(thread_id))
            answer = self.hooks.finish(finished)
            if answer is Answer.RETRY:
                ptrace.rewind(thread_id)
            elif answer is Answer.PRETEND:
                ptrace.set_result(thread_id, 0)
        ptrace.resume(thread_id, to_exit=self.every)

    def _returned(self, thread_id: int, thread: _Thread) -> None:
        """The BPF program stopped the thread on its way out of a call."""
        assert self.session
        pending, thread.pending = thread.pending, None
        self.session.was_told(thread_id)
        back = ptrace.syscall_return(thread_id)
        if back is not None and not (thread.mixed and ptrace.architecture(thread_id) == I386):
            row = self.tables[X86_64].get(back.entry.number)
            if row is not None and self._answer(thread_id, thread, row, back, pending) is Answer.RETRY:
                ptrace.rewind(thread_id)
        ptrace.resume(thread_id)

    def _answer(
        self, thread_id: int, thread: _Thread, row: Row, back: ptrace.SyscallReturn, pending: SyscallRecord | None
    ) -> Answer:
        assert self.session
        if back.result >= 0 and row.name.startswith("exec"):
            return Answer.LEAVE  # its arguments lay in the memory of the former program; its entry was seen
        if pending is not None:
            return self.hooks.finish(replace(pending, result=back.result))
        record = self._record(thread_id, thread, row, back.entry, back.result)
        if record is None:
            return Answer.LEAVE
        if row.decode is Decode.LISTING:
            self.hooks.enter(record)
            return Answer.LEAVE
        answer = self.hooks.finish(record) if back.result < 0 else Answer.LEAVE
        if answer is Answer.RETRY:
            return answer
        value = NOWHERE if answer is Answer.KNOWN else 0
        if back.result not in _NOT_THERE:
            answer = self.hooks.used(record)
            value = REAL if answer is Answer.LEAVE and row.watch in (Watch.PATH, Watch.FANOTIFY_OR_PATH) else 0
        # With openat2(2) an absolute path may start elsewhere.
        if value and not self.rerooted and row.how is None and record.arguments[0].spelled.startswith("/"):
            self.session.know(back.entry.number, record.arguments[0].spelled, value)
        return answer

    def _exec(self, stop: Stop, thread: _Thread) -> None:
        # An exec by a thread that is not the leader: the event comes under the leader's id, and the old id never
        # reports its end (ptrace(2), "execve(2) under ptrace").
        if stop.message != stop.thread:
            former = self.threads.pop(stop.message, None)
            thread.pending = former.pending if former else None
            if former is not None and not former.announced:
                self.short_lived.add(stop.message)
            if self.session:
                self.session.renumbered(stop.message, stop.thread)
            thread.inside = former.inside if former else None
        if self.session:
            self.session.count(stop.thread)
        thread.process = stop.thread
        thread.mixed = False
        self.programs.pop(stop.thread, None)
        ptrace.resume(stop.thread, to_exit=self._to_exit(thread))

    def _end(self, stop: Stop) -> None:
        thread = self.threads.pop(stop.thread, None)
        if thread is not None and not thread.announced:
            self.short_lived.add(stop.thread)
        if self.session:
            self.session.remove(stop.thread)
        if thread is not None and thread.inside is not None:
            never = thread.pending or self._unknown(stop.thread, thread, thread.inside, NEVER)
            self.hooks.heard(replace(never, result=NEVER))
        if thread is None or thread.process in (0, stop.thread):
            self.programs.pop(stop.thread, None)
            self.hooks.ended(stop.thread, stop.status)

    def _process(self, thread_id: int, thread: _Thread) -> int:
        if thread.process == 0:
            thread.process = thread_group(thread_id)
        return thread.process
