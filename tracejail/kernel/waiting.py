"""Waiting for signals and descriptors at once: signalfd(2) and poll(2)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import struct
from collections.abc import Iterable, Iterator

from .syscalls import libc

_RECORD = 128              # bytes of struct signalfd_siginfo; the signal's number comes first
_CLOEXEC, _NONBLOCK = 0o2000000, 0o4000


@contextlib.contextmanager
def blocked(signals: Iterable[int]) -> Iterator[None]:
    """With these signals blocked for the calling thread, and those that it makes, beside those that are."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Waiting:
    """Blocked signals as a descriptor, polled together with others."""

    def __init__(self, signals: Iterable[int], descriptors: Iterable[int]) -> None:
        mask = 0
        for number in signals:
            mask |= 1 << (number - 1)
        words = ctypes.create_string_buffer(struct.pack("=Q", mask).ljust(128, b"\0"), 128)  # sigset_t
        self._signals = libc.signalfd(-1, words, _CLOEXEC | _NONBLOCK)
        if self._signals < 0:
            raise OSError(ctypes.get_errno(), "signalfd: " + os.strerror(ctypes.get_errno()))
        self._poll = select.poll()
        self._poll.register(self._signals, select.POLLIN)
        for descriptor in descriptors:
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> tuple[set[int], set[int]]:
        """The signals that came and the descriptors that can be read, after `seconds` at most."""
        readable = {descriptor for descriptor, _ in self._poll.poll(seconds * 1000)}
        came: set[int] = set()
        if self._signals in readable:
            readable.discard(self._signals)
            data = os.read(self._signals, 8 * _RECORD)
            came = {struct.unpack_from("=I", data, at)[0] for at in range(0, len(data), _RECORD)}
        return came, readable

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._signals)
