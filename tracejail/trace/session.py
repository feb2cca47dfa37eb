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

from .miss_program import FAILURES, LONG, SHORT, SPECIAL, STAND_INS, TOLD, Maps, at_end, at_return
from .table import ROWS

_THREADS, _INODES, _PATHS = 1 << 17, 1 << 20, 1 << 16   # entries at most; memory is taken as they come
_thread = struct.Struct("=I").pack
_word = struct.Struct("=Q").pack


@dataclass(slots=True)
class Session:
    """What the programs look at, changed by the functions below. Raises OSError where a map is full."""

    maps: Maps
    words: mmap
    threads: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    inodes: set[int] = field(default_factory=set)
    paths: set[bytes] = field(default_factory=set)

    def add(self, thread: int) -> None:
        """A thread of the target: it must be stopped, or not yet running."""
        if thread not in self.threads:
            self.threads.add(thread)
            bpf.put(self.maps.threads, _thread(thread), _word(0))

    def remove(self, thread: int) -> None:
        """It has ended, or has another number now."""
        self.was_told(thread)
        if thread in self.threads:
            self.threads.discard(thread)
            bpf.remove(self.maps.threads, _thread(thread))

    def tell(self, thread: int) -> None:
        """Stop this thread, which is in a system call now, at the call's return."""
        if thread in self.threads and thread not in self.told:
            self.told.add(thread)
            self.words[8:16] = _word(len(self.told))
            bpf.put(self.maps.threads, _thread(thread), _word(TOLD))

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

    def know(self, path: str) -> None:
        """This absolute path leads to no stand-in."""
        key = os.fsencode(path)
        if len(key) < LONG - 1 and len(self.paths) < _PATHS:
            self.paths.add(key)
            bpf.put(*self._place(key), _word(0))

    def forget_paths(self) -> None:
        """Paths may lead elsewhere now."""
        for key in self.paths:
            bpf.remove(*self._place(key))
        self.paths.clear()

    def forget(self) -> None:
        """A new tree: no stand-ins, no known paths."""
        self.words[0:8] = _word(0)
        self.forget_paths()
        for inode in list(self.inodes):
            self.settled(inode)

    def _place(self, key: bytes) -> tuple[int, bytes]:
        if len(key) < SHORT - 1:
            return self.maps.short_paths, key.ljust(SHORT, b"\0")
        return self.maps.long_paths, key.ljust(LONG, b"\0")


@contextlib.contextmanager
def session(failures: tuple[int, ...] = FAILURES) -> Iterator[Session]:
    """Load and attach the programs for the while of the block; `failures` are the errors that count, () for all.

    Raises OSError where the kernel or the privileges at hand do not allow it.
    """
    with contextlib.ExitStack() as stack:

        def keep(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        words, memory = bpf.shared_words(2)
        stack.callback(memory.close)
        maps = Maps(
            threads=keep(bpf.hash_map(4, _THREADS)),
            inodes=keep(bpf.hash_map(8, _INODES)),
            short_paths=keep(bpf.hash_map(SHORT, _PATHS)),
            long_paths=keep(bpf.hash_map(LONG, _PATHS)),
            words=keep(words),
        )
        for program, tracepoint in ((at_end(maps), "sched_process_exit"), (at_return(ROWS, maps, failures), "sys_exit")):
            loaded = keep(bpf.load(bpf.pack(bpf.assemble(program))))
            keep(bpf.attach(loaded, tracepoint))
        yield Session(maps, memory)
