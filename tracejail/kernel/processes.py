"""What /proc says of a process (proc(5))."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from .memory import read_memory
from .syscalls import libc

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_SIGNAL_WAITS = (128, 177, 421)   # rt_sigtimedwait of x86-64 and, with both sizes of a time, of i386
# signal(7), as a mask
_IGNORED_BY_DEFAULT = sum(1 << (number - 1) for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH))


def credentials(process: int) -> str:
    """The user, group and supplementary groups of a process, as one text to compare; "" if it has ended."""
    lines = (line for line in _status(process).split(b"\n") if line.startswith((b"Uid:", b"Gid:", b"Groups:")))
    return b" ".join(lines).decode("ascii", "replace")


def acts_on(process: int, number: int) -> bool:
    """Whether a signal makes the process do something of its own: one of its threads catches it, or blocks it, as those do
    that wait for signals by signalfd(2) or sigwait(3)."""
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{process}/task")]
    except OSError:
        return False
    return any(_minds(thread, number) or _awaits(thread, number) for thread in threads)


def _minds(thread: int, number: int) -> bool:
    masks = _signal_masks(thread)
    return bool((masks.get(b"SigBlk", 0) | masks.get(b"SigCgt", 0)) >> (number - 1) & 1)


def _awaits(thread: int, number: int) -> bool:
    """Whether a thread waits for the signal in rt_sigtimedwait(2), which takes it off the blocked ones meanwhile."""
    call = _waiting_call(thread)
    if not call or call[0] not in _SIGNAL_WAITS:
        return False
    mask = read_memory(thread, call[1], 8)
    return len(mask) == 8 and bool(int.from_bytes(mask, "little") >> (number - 1) & 1)


def parent(process: int) -> int:
    """The process's parent; 0 if it has ended."""
    word = _status(process).partition(b"\nPPid:")[2].partition(b"\n")[0]
    return int(word) if word else 0


def waits_in(process: int) -> int | None:
    """The number of the system call that the process's first thread waits in; None if it runs, is stopped or has ended."""
    call = _waiting_call(process)
    return call[0] if call else None


def _waiting_call(process: int) -> list[int]:
    """The number and the arguments of the call that the first thread waits in (/proc/PID/syscall); none if it runs."""
    try:
        with open(f"/proc/{process}/syscall", encoding="ascii") as stream:
            return [int(word, 0) for word in stream.read().split()]
    except (OSError, ValueError):
        return []


def ignores(process: int, number: int) -> bool:
    """Whether a signal to the process has no effect: it ignores it, or lets the default stand, which is to ignore it."""
    return bool(_ignored(_signal_masks(process)) >> (number - 1) & 1)


def is_signalled(thread: int) -> bool:
    """Whether a signal waits to be delivered to the thread, one that it neither ignores nor blocks."""
    masks = _signal_masks(thread)
    waiting = masks.get(b"SigPnd", 0) | masks.get(b"ShdPnd", 0)
    return bool(waiting & ~masks.get(b"SigBlk", 0) & ~_ignored(masks))


def _signal_masks(thread: int) -> dict[bytes, int]:
    rows = (line for line in _status(thread).split(b"\n") if line.startswith((b"Sig", b"ShdPnd")) and b"/" not in line)
    return {line[:6]: int(line.split()[1], 16) for line in rows}


def _ignored(masks: dict[bytes, int]) -> int:
    return masks.get(b"SigIgn", 0) | (_IGNORED_BY_DEFAULT & ~masks.get(b"SigCgt", 0))


def inner_id(process: int) -> int:
    """The process's id in its own pid namespace (NSpid, proc(5)); 0 if it has ended."""
    words = _status(process).partition(b"\nNSpid:")[2].partition(b"\n")[0].split()
    return int(words[-1]) if words else 0


def children(process: int) -> list[int]:
    """The children of a process's first thread, orphans that it was given among them (proc(5))."""
    try:
        with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as stream:
            return [int(word) for word in stream.read().split()]
    except OSError:
        return []


def adopt_orphans(yes: bool) -> None:
    """Whether orphans of this process's descendants become its children (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    libc.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def outlive(parent: int, number: int, name: str) -> None:
    """This process, a child of `parent`, gets the signal when that ends (PR_SET_PDEATHSIG, prctl(2)), at once if it has; and it
    has a name of its own for those who kill by name."""
    libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def thread_group(thread: int) -> int:
    """The process that a thread belongs to; the thread itself if it has ended."""
    word = _status(thread).partition(b"\nTgid:")[2].partition(b"\n")[0]
    return int(word) if word else thread


@contextlib.contextmanager
def closed_elsewhere() -> Iterator[None]:
    """What is closed in the block is closed for good by a child of this process that ends behind it: the last close of a
    fanotify group, or of a tree in memory, takes 10 to 50 ms (measured), and need not be waited for."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(theirs)
        with contextlib.suppress(OSError):
            os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    try:
        yield
    finally:
        os.close(theirs)


def in_child(work: Callable[[], bytes]) -> Callable[[], bytes]:
    """Begin a piece of work in a child process; gives a function that waits for what it gives, b"" where it failed."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)  # else it would wait for itself, once the reader is dead
            data = work()
            while data:
                data = data[os.write(theirs, data) :]
        finally:
            os._exit(0)
    os.close(theirs)

    def given() -> bytes:
        with os.fdopen(ours, "rb") as stream:
            data = stream.read()
        with contextlib.suppress(ChildProcessError):  # a tracer's wait has had it
            os.waitpid(child, 0)
        return data

    return given


def _status(thread: int) -> bytes:
    """The start of /proc/THREAD/status; empty if it has ended."""
    return _start_of(f"/proc/{thread}/status")


def _start_of(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
