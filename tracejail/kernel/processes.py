"""What /proc says of a process (proc(5))."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

# signal(7), as a mask
_IGNORED_BY_DEFAULT = sum(1 << (number - 1) for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH))


def credentials(process: int) -> str:
    """The user, group and supplementary groups of a process, as one text to compare; "" if it has ended."""
    lines = (line for line in _status(process).split(b"\n") if line.startswith((b"Uid:", b"Gid:", b"Groups:")))
    return b" ".join(lines).decode("ascii", "replace")


def heeds(process: int, number: int) -> bool:
    """Whether a signal to the process does something else than end it by default: it catches, ignores or blocks it."""
    for line in _status(process).split(b"\n"):
        if line.startswith((b"SigBlk:", b"SigIgn:", b"SigCgt:")) and int(line.split()[1], 16) >> (number - 1) & 1:
            return True
    return False


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


def of_sessions(sessions: set[int]) -> list[int]:
    """The processes of these sessions, by the id of their first process (setsid(2))."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stream:
                    text = stream.read()
                if int(text[text.rindex(b")") + 2 :].split()[3]) in sessions:
                    found.append(int(name))
            except (OSError, ValueError, IndexError):
                continue
    return found


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
    try:
        descriptor = os.open(f"/proc/{thread}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def mount_points() -> list[str]:
    """The mount points of this mount namespace (/proc/self/mountinfo; blanks in names are octal escapes there)."""
    points = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        lines = stream.read().splitlines()
    for line in lines:
        name = line.split(" ")[4]
        for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            name = name.replace(escape, character)
        points.append(name)
    return points
