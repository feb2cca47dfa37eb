"""The kernel side of the miss-only engine while it runs: maps and programs, and what is put into the maps.

All of it are descriptors of this process: nothing outlives it, whatever ends it.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

from tracejail.kernel import bpf

from .call_program import MOST_CALLS, at_entry
from .miss_program import FAILURES, IN_A_VALUE, LONG, OURS, SHORT, SPECIAL, STAND_INS, TOLD, Maps, at_end, at_return
from .table import ROWS

_INODES, _PATHS = 1 << 20, 1 << 16   # entries at most; memory is taken as they come
_word = struct.Struct("=Q").pack


@dataclass(slots=True)
class Session:
    """What the programs look at, changed by the functions below. Raises OSError where a map is full."""

    maps: Maps
    words: mmap
    thread_bytes: mmap      # one for each thread id
    threads: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    inodes: set[int] = field(default_factory=set)
    paths: dict[bytes, int] = field(default_factory=dict)    # call number and path -> what is known of it
    counting: mmap | None = None    # a byte for each thread id: its calls are noted
    foreign: bool = False           # there were calls of i386, whose numbers are others
    calls: mmap | None = None       # a value for each number: it was called

    def add(self, thread: int) -> None:
        """A thread of the target: it must be stopped, or not yet running."""
        if thread not in self.threads:
            self.threads.add(thread)
            self.thread_bytes[thread] = OURS

    def count(self, thread: int) -> None:
        """From now on it is the target itself: note its calls, where that was asked for."""
        if self.counting and thread in self.threads:
            self.counting[thread] = 1

    def called(self) -> frozenset[int]:
        """The numbers of the calls that were noted."""
        values = memoryview(self.calls or b"")
        return frozenset(number for number in range(len(values) // IN_A_VALUE) if values[number * IN_A_VALUE])

    def renumbered(self, former: int, thread: int) -> None:
        """A thread that was not the leader executed a program and has the leader's number now. The end of the leader has
        taken that number off the map."""
        self.remove(former)
        self.threads.add(thread)
        self.thread_bytes[thread] = OURS

    def remove(self, thread: int) -> None:
        """It has ended, or has another number now."""
        self.was_told(thread)
        if thread in self.threads:
            self.threads.discard(thread)
            self.thread_bytes[thread] = 0
            if self.counting:
                self.counting[thread] = 0

    def tell(self, thread: int) -> None:
        """Stop this thread, which is in a system call now, at the call's return."""
        if thread in self.threads and thread not in self.told:
            self.told.add(thread)
            self.words[8:16] = _word(len(self.told))
            self.thread_bytes[thread] = OURS | TOLD

    def was_told(self, thread: int) -> bool:
        """Whether the stop at hand is one that was asked for."""
        if thread not in self.told:
            return False
        self.told.discard(thread)
        self.words[8:16] = _word(len(self.told))
        return True

    def stand_in(self, inode: int, special: bool = False) -> None:
        """Looks at this inode are to be heard of; `special` if it is neither file, directory nor link."""
        if not self.inodes or special:
            flags = STAND_INS | (SPECIAL if special else self.words[0] & SPECIAL)
            self.words[0:8] = _word(flags)
        self.inodes.add(inode)
        bpf.put(self.maps.inodes, _word(inode), _word(0))

    def settled(self, inode: int) -> None:
        """No more of this inode."""
        if inode in self.inodes:
            self.inodes.discard(inode)
            bpf.remove(self.maps.inodes, _word(inode))

    def know(self, call: int, path: str, value: int) -> None:
        """This absolute path, asked for by this call, is of no more account: REAL or NOWHERE."""
        key = _word(call) + os.fsencode(path)
        if len(key) < LONG - 1 and len(self.paths) < _PATHS:
            value |= self.paths.get(key, 0)
            self.paths[key] = value
            bpf.put(*self._place(key), _word(value))

    def forget_paths(self) -> None:
        """Paths may lead elsewhere now."""
        for key in self.paths:
            bpf.remove(*self._place(key))
        self.paths.clear()

    def forget(self) -> None:
        """A new tree: no stand-ins, no known paths."""
        if self.words.closed:
            return  # an interrupt came in the midst of opening or closing: all of it is gone already
        self.words[0:8] = _word(0)
        self.forget_paths()
        for inode in list(self.inodes):
            self.settled(inode)

    def _place(self, key: bytes) -> tuple[int, bytes]:
        if len(key) < SHORT - 1:
            return self.maps.short_paths, key.ljust(SHORT, b"\0")
        return self.maps.long_paths, key.ljust(LONG, b"\0")


def _most_threads() -> int:
    """Thread ids are less than this (proc(5), pid_max), a multiple of what a value holds."""
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as stream:
        return -(-int(stream.read()) // IN_A_VALUE) * IN_A_VALUE


@contextlib.contextmanager
def session(failures: tuple[int, ...] = FAILURES, note_calls: bool = False) -> Iterator[Session]:
    """Load and attach the programs for the while of the block; `failures` are the errors that count, () for all;
    `note_calls`: which calls are made is noted, too.

    Raises OSError where the kernel or the privileges at hand do not allow it.
    """
    with contextlib.ExitStack() as stack:

        def keep(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        words, memory = bpf.shared_array(16, 1)
        stack.callback(memory.close)
        threads, of_threads = bpf.shared_array(IN_A_VALUE, _most_threads() // IN_A_VALUE)
        stack.callback(of_threads.close)
        maps = Maps(
            threads=keep(threads),
            inodes=keep(bpf.hash_map(8, _INODES)),
            short_paths=keep(bpf.hash_map(SHORT, _PATHS)),
            long_paths=keep(bpf.hash_map(LONG, _PATHS)),
            words=keep(words),
        )
        programs = [(at_end(maps.threads), "sched_process_exit"), (at_return(ROWS, maps, failures), "sys_exit")]
        running = Session(maps, memory, of_threads)
        if note_calls:
            counting, running.counting = bpf.shared_array(IN_A_VALUE, _most_threads() // IN_A_VALUE)
            stack.callback(running.counting.close)
            calls, running.calls = bpf.shared_array(IN_A_VALUE, MOST_CALLS)
            stack.callback(running.calls.close)
            programs += [
                (at_end(keep(counting)), "sched_process_exit"), (at_entry(counting, keep(calls)), "sys_enter"),
            ]
        for program, tracepoint in programs:
            loaded = keep(bpf.load(bpf.pack(bpf.assemble(program))))
            keep(bpf.attach(loaded, tracepoint))
        yield running
