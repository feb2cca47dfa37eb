"""ptrace(2) with SEIZE, and wait(2): what a stop is, in kernel words.

The one module that imports python-ptrace, for its register layout, which a test compares with the one here. Its
PtraceDebugger is not used, since it polls each process with sleeps and knows no SEIZE, EXITKILL or seccomp-stop.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from .syscalls import libc

_CONT, _GETREGS, _SETREGS, _SYSCALL, _DETACH = 7, 12, 13, 24, 17
_GETSIGINFO = 0x4202
_GETEVENTMSG, _SEIZE, _INTERRUPT, _LISTEN, _GET_SYSCALL_INFO = 0x4201, 0x4206, 0x4207, 0x4208, 0x420E
_OF_OTHERS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10        # SYSGOOD FORK VFORK CLONE EXEC
_OPTIONS = _OF_OTHERS | 0x80 | 1 << 20            # SECCOMP EXITKILL
_EVENT_FORK, _EVENT_VFORK, _EVENT_CLONE, _EVENT_EXEC, _EVENT_SECCOMP, _EVENT_STOP = 1, 2, 3, 4, 7, 128
_GROUP_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_WALL, _NO_OTHER_THREADS = 0x40000000, 0x20000000
_MEANWHILE = 0.2                  # seconds
_ENTRY, _EXIT = 1, 2              # struct ptrace_syscall_info, op
X86_64, I386 = 0xC000003E, 0x40000003  # AUDIT_ARCH_*, linux/audit.h

_ptrace = libc.ptrace
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long
_information = ctypes.create_string_buffer(88)
_information_address = ctypes.addressof(_information)
_INFORMATION_SIZE = len(_information)
_unpack_entry = struct.Struct("=B3xIQQQ6Q").unpack_from
_message = ctypes.c_ulong()
_siginfo = ctypes.create_string_buffer(128)
_siginfo_address = ctypes.addressof(_siginfo)
_SI_KERNEL = 0x80                 # siginfo.h: sent by the kernel
_USER_CODE_32 = 0x23              # the code segment of 32-bit programs, asm/segment.h
_registers = ctypes.create_string_buffer(27 * 8)
_registers_address = ctypes.addressof(_registers)
_words = struct.Struct("=18Q")    # struct user_regs_struct of x86-64, up to the code segment
_RAX, _NUMBER, _RIP = 80, 120, 128  # offsets in it, in bytes
_rax_rip = struct.Struct("=Q")
_INTERRUPTED = -errno.EINTR & 0xFFFFFFFFFFFFFFFF   # as a register has it


class StopKind(Enum):
    """What wait(2) reported of a thread."""

    SECCOMP = "seccomp-stop"          # a system call that the filter marks, at its entry
    EXIT = "syscall-exit-stop"
    CHILD = "fork, vfork or clone"    # message: the new thread's id
    EXEC = "exec"                     # message: the thread id that it had before
    SIGNAL = "signal-delivery-stop"
    GROUP = "group-stop"
    OTHER = "ptrace-stop"             # nothing to do but go on
    ENDED = "ended"                   # status: as wait(2)


@dataclass(slots=True)
class Stop:
    """One report of wait(2)."""

    thread: int
    kind: StopKind
    signal: int = 0
    status: int = 0
    message: int = 0


@dataclass(slots=True)
class SyscallEntry:
    """A system call at its entry: number and raw argument words, as PTRACE_GET_SYSCALL_INFO gives them."""

    architecture: int
    number: int
    words: tuple[int, int, int, int, int, int]


@dataclass(slots=True)
class SyscallReturn:
    """A system call on its way out, from the registers: what SyscallEntry has, and the result."""

    entry: SyscallEntry
    result: int


class ThreadGone(Exception):
    """The thread died under the tracer's hands (ESRCH); its end will be reported by wait(2)."""


def _call(request: int, thread: int, address: int, data: int) -> None:
    if _ptrace(request, thread, address, data) < 0:
        code = ctypes.get_errno()
        if code == 3:  # ESRCH
            raise ThreadGone(thread)
        raise OSError(code, "ptrace: " + os.strerror(code))


def seize(thread: int) -> None:
    """Attach without stopping; children follow, and all tracees die with the tracer (PTRACE_O_EXITKILL)."""
    _call(_SEIZE, thread, 0, _OPTIONS)


def seize_other(thread: int) -> None:
    """Attach to a thread that is not ours, without stopping it; what it makes follows. It lives on whatever becomes of the
    tracer: there is no EXITKILL."""
    _call(_SEIZE, thread, 0, _OF_OTHERS)


def interrupt(thread: int) -> None:
    """Make a seized thread stop, with no signal (PTRACE_EVENT_STOP)."""
    _call(_INTERRUPT, thread, 0, 0)


def let_go_after(work: Callable[[], None], meanwhile: Callable[[], None]) -> None:
    """Do a tracer's work in a thread of its own, and return when that thread is no more: it is then that the kernel lets go
    of its tracees, running or blocked or stopped, and without another stop (exit_ptrace in kernel/ptrace.c). PTRACE_DETACH
    wants each of them stopped before, which some blocked calls tell of with EINTR. `meanwhile` is called now and then, by
    the calling thread: it may wait, as for a terminal, and the tracees do not wait for it.

    Raises what the work raises.
    """
    import threading  # only where a process is watched that runs already

    failed: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    tracer = threading.Thread(target=body, name="tracer")
    tracer.start()
    while tracer.is_alive():
        tracer.join(_MEANWHILE)
        meanwhile()
    while os.path.exists(f"/proc/self/task/{tracer.native_id}"):  # join waits for the interpreter's end of it only
        time.sleep(0.001)
    if failed:
        raise failed[0]


def wait_stop(block: bool) -> Stop | None:
    """The next report of any tracee or child; None if there is none now.

    Raises ChildProcessError when there is neither child nor tracee.
    """
    thread, status = os.waitpid(-1, _WALL if block else _WALL | os.WNOHANG)
    return _stop(thread, status) if thread else None


def wait_stop_gently() -> Stop | None:
    """The next report of a tracee of this very thread; None if there is none now.

    A signal-delivery-stop is only looked at and not taken: a report that was taken leaves the signal with the tracer, and
    would take it along should the tracer be killed before it hands it on (ptrace_stop and wait_task_stopped in the kernel:
    the exit code is cleared). The caller must let that thread go on before it asks again.

    Raises ChildProcessError when there is no tracee.
    """
    flags = os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT | _WALL | _NO_OTHER_THREADS
    seen = os.waitid(os.P_ALL, 0, flags)
    if seen is None:
        return None
    code = seen.si_status
    if seen.si_code in (os.CLD_TRAPPED, os.CLD_STOPPED) and code >> 8 == 0 and code != signal.SIGTRAP | 0x80:
        return Stop(seen.si_pid, StopKind.SIGNAL, signal=code)
    thread, status = os.waitpid(seen.si_pid, _WALL | _NO_OTHER_THREADS | os.WNOHANG)
    return _stop(thread, status) if thread else None


def _stop(thread: int, status: int) -> Stop:
    if status & 0xFF != 0x7F:
        return Stop(thread, StopKind.ENDED, status=status)
    event, number = status >> 16, status >> 8 & 0xFF
    if event == _EVENT_SECCOMP:
        return Stop(thread, StopKind.SECCOMP)
    if event == 0:
        if number == signal.SIGTRAP | 0x80:
            return Stop(thread, StopKind.EXIT)
        return Stop(thread, StopKind.SIGNAL, signal=number)
    if event in (_EVENT_FORK, _EVENT_VFORK, _EVENT_CLONE, _EVENT_EXEC):
        try:
            _call(_GETEVENTMSG, thread, 0, ctypes.addressof(_message))
        except ThreadGone:
            return Stop(thread, StopKind.OTHER)
        kind = StopKind.EXEC if event == _EVENT_EXEC else StopKind.CHILD
        return Stop(thread, kind, message=_message.value)
    if event == _EVENT_STOP and number in _GROUP_STOPS:
        return Stop(thread, StopKind.GROUP, signal=number)
    return Stop(thread, StopKind.OTHER)


def resume(thread: int, signal_number: int = 0, to_exit: bool = False) -> None:
    """Let a stopped thread go on, to its next seccomp-stop or (`to_exit`) to the exit of the call that it is in."""
    _call(_SYSCALL if to_exit else _CONT, thread, 0, signal_number)


def listen(thread: int) -> None:
    """Leave a thread in its group-stop, as job control wants it, and hear of its end (PTRACE_LISTEN)."""
    _call(_LISTEN, thread, 0, 0)


def detach(thread: int) -> None:
    """Let go of a stopped thread."""
    _call(_DETACH, thread, 0, 0)


def syscall_entry(thread: int) -> SyscallEntry:
    """The call that a thread is entering. The architecture word tells i386 calls of a 64-bit process too."""
    _call(_GET_SYSCALL_INFO, thread, _INFORMATION_SIZE, _information_address)
    _, architecture, _, _, number, *words = _unpack_entry(_information)
    return SyscallEntry(architecture, number, tuple(words))


def syscall_result(thread: int) -> int:
    """The result at a syscall-exit-stop: >= 0, or a negative errno."""
    _call(_GET_SYSCALL_INFO, thread, _INFORMATION_SIZE, _information_address)
    return int(struct.unpack_from("=q", _information, 24)[0])


def syscall_stop(thread: int) -> SyscallEntry | int | None:
    """At a syscall-stop, whichever it is: the call at its entry, or the result at its exit, >= 0 or a negative errno."""
    _call(_GET_SYSCALL_INFO, thread, _INFORMATION_SIZE, _information_address)
    kind, architecture, _, _, number, *words = _unpack_entry(_information)
    if kind == _ENTRY:
        return SyscallEntry(architecture, number, tuple(words))
    return int(struct.unpack_from("=q", _information, 24)[0]) if kind == _EXIT else None


def interrupted_call(thread: int) -> tuple[int, int, int] | None:
    """Architecture, number and first argument of the call that a stopped thread is about to return from with EINTR; None if
    it is not."""
    _call(_GETREGS, thread, 0, _registers_address)
    words = _words.unpack_from(_registers)
    result, number, segment = words[10], words[15], words[17]
    if result & 0xFFFFFFFF != _INTERRUPTED & 0xFFFFFFFF or number >> 63:
        return None
    if segment == _USER_CODE_32:
        return I386, number & 0xFFFFFFFF, words[5] & 0xFFFFFFFF
    return X86_64, number & 0xFFFFFFFF, words[14]


def sent_by_kernel(thread: int) -> bool:
    """At a signal-delivery-stop: whether the kernel sent the signal, as a BPF program does, and no process."""
    _call(_GETSIGINFO, thread, 0, _siginfo_address)
    return bool(struct.unpack_from("=3i", _siginfo)[2] == _SI_KERNEL)


def syscall_return(thread: int) -> SyscallReturn | None:
    """At a signal-delivery-stop on the way out of an x86-64 system call: that call. None for a 32-bit program."""
    _call(_GETREGS, thread, 0, _registers_address)
    _, _, _, _, _, _, _, r10, r9, r8, rax, _, rdx, rsi, rdi, number, _, segment = _words.unpack_from(_registers)
    if segment == _USER_CODE_32:
        return None
    result = rax - (1 << 64) if rax >> 63 else rax
    return SyscallReturn(SyscallEntry(X86_64, number, (rdi, rsi, rdx, r10, r8, r9)), result)


def architecture(thread: int) -> int:
    """Of the call that a stopped thread is in: an x86-64 program may make i386 calls by `int 0x80`."""
    _call(_GET_SYSCALL_INFO, thread, _INFORMATION_SIZE, _information_address)
    return int(_unpack_entry(_information)[1])


def rewind(thread: int) -> None:
    """At a syscall-exit-stop, or a signal-delivery-stop on the way out of a call, go back before the call, so that it is
    made again when the thread goes on.

    Both `syscall` and `int 0x80` are two bytes long, and the vdso's 32-bit landing pad follows an `int 0x80`
    (80,000 rewinds measured under a 200 microsecond timer, 64 and 32 bit: no failure).
    """
    _call(_GETREGS, thread, 0, _registers_address)
    words = _words.unpack_from(_registers)
    _rax_rip.pack_into(_registers, _RAX, words[15])
    _rax_rip.pack_into(_registers, _RIP, words[16] - 2)
    _call(_SETREGS, thread, 0, _registers_address)


def undo_rewind(thread: int) -> None:
    """Take a `rewind` back that the thread has not begun to follow: its call returns with EINTR after all."""
    _call(_GETREGS, thread, 0, _registers_address)
    words = _words.unpack_from(_registers)
    _rax_rip.pack_into(_registers, _RAX, _INTERRUPTED)
    _rax_rip.pack_into(_registers, _RIP, words[16] + 2)
    _call(_SETREGS, thread, 0, _registers_address)


def set_result(thread: int, result: int, instead: bool = False) -> None:
    """At a syscall-exit-stop, give another result; `instead`, at a seccomp-stop: that result, and the call is not made
    (seccomp(2), SECCOMP_RET_TRACE: the number -1)."""
    _call(_GETREGS, thread, 0, _registers_address)
    struct.pack_into("=q", _registers, _RAX, result)
    if instead:
        struct.pack_into("=q", _registers, _NUMBER, -1)
    _call(_SETREGS, thread, 0, _registers_address)


def set_argument(thread: int, architecture: int, index: int, value: int) -> None:
    """Change an argument of the call that a thread is entering (index 0 only is needed: clone's flags)."""
    # Here, as its import takes as long as that of all of kernel/, and this is for one call in a million.
    from ptrace.binding.linux_struct import user_regs_struct

    registers = user_regs_struct()
    _call(_GETREGS, thread, 0, ctypes.addressof(registers))
    names = ("rbx", "rcx", "rdx") if architecture == I386 else ("rdi", "rsi", "rdx")
    setattr(registers, names[index], value)
    _call(_SETREGS, thread, 0, ctypes.addressof(registers))



# What came after python-ptrace 0.9.9, whose table ends at 440 (asm/unistd_64.h of Linux 6.13).
_LATER = (
    "epoll_pwait2", "mount_setattr", "quotactl_fd", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
    "memfd_secret", "process_mrelease", "futex_waitv", "set_mempolicy_home_node", "cachestat", "fchmodat2", "map_shadow_stack",
    "futex_wake", "futex_wait", "futex_requeue", "statmount", "listmount", "lsm_get_self_attr", "lsm_set_self_attr",
    "lsm_list_modules", "mseal", "setxattrat", "getxattrat", "listxattrat", "removexattrat",
)


def syscall_names() -> dict[int, str]:
    """The names of the system calls of x86-64, by number."""
    from ptrace.syscall.linux.x86_64 import SYSCALL_NAMES

    return {**SYSCALL_NAMES, 283: "timerfd_create", **dict(enumerate(_LATER, 441))}
