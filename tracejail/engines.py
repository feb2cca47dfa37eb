"""Which engine watches the target: the miss-only one where this kernel and these privileges allow it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from tracejail.errors import KernelLacksError, UsageError
from tracejail.kernel import fanotify
from tracejail.show import Show
from tracejail.trace.engine import Engine
from tracejail.trace.miss_engine import Refused, miss_engine
from tracejail.trace.miss_program import FAILURES
from tracejail.trace.seccomp_engine import seccomp_engine
from tracejail.trial.target import privileges_lack

NAMES = ("auto", "bpf", "seccomp")


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """Whether an engine can be had here (`lacks` is ""), and what it is good for."""

    name: str
    lacks: str
    about: str


def checks() -> tuple[EngineCheck, ...]:
    """Each engine, the one that auto takes first, tried by loading it."""
    lacks = ""
    try:
        with miss_engine():
            _check_fanotify()
    except Refused as refused:
        lacks = str(refused)
    lack = privileges_lack()
    without = lack[0] if lack else ""
    return (
        EngineCheck("bpf", lacks or without, "calls that succeed do not stop"),
        EngineCheck("seccomp", without, "stops at each call that carries a path; needs neither BPF nor fanotify"),
    )


@contextlib.contextmanager
def chosen(name: str, show: Show, failures: tuple[int, ...] = FAILURES, note_calls: bool = False) -> Iterator[Engine]:
    """The engine that `--engine` names, for the while of the block; why auto did not take bpf is told with -v.
    `note_calls`: it is to note which calls are made, as bpf can.

    Raises UsageError (no such engine), KernelLacksError (bpf was asked for and can't be had).
    """
    if note_calls and name == "seccomp":
        raise UsageError("--syscalls --engine seccomp: only bpf sees calls that carry no path", "leave out one of them")
    if name not in NAMES:
        raise UsageError(f"--engine {name}: not one of {', '.join(NAMES)}", "leave it out for the best that there is")
    with contextlib.ExitStack() as stack:
        yield _engine(stack, "bpf" if note_calls else name, show, failures, note_calls)


def _engine(stack: contextlib.ExitStack, name: str, show: Show, failures: tuple[int, ...], note_calls: bool) -> Engine:
    if name == "seccomp":
        return seccomp_engine()
    try:
        engine = stack.enter_context(miss_engine(failures, note_calls))
        _check_fanotify()
        return engine
    except Refused as refused:
        stack.close()
        if name == "bpf":
            hint = "leave out --syscalls" if note_calls else "--engine seccomp needs neither BPF nor fanotify"
            raise KernelLacksError(f"the miss-only engine can't be had here: {refused}", hint) from None
        show.say(f"engine seccomp, as the miss-only one can't be had here: {refused}")
        return seccomp_engine()


def _check_fanotify() -> None:
    try:
        os.close(fanotify.open_group(writable=True))
    except OSError as error:
        raise Refused(f"{error.strerror}") from None
