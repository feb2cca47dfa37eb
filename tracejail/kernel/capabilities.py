"""Capabilities and the other prctl(2) attributes of a process."""

from __future__ import annotations

import ctypes
import errno
import struct

from .syscalls import libc, syscall

_CAPGET, _CAPSET = 125, 126
_VERSION_3 = 0x20080522
_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 4, 8, 23, 24, 47
_AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 1, 2, 4

# Numbers of linux/capability.h.
_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
    "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap "
    "mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
NAMES = tuple(_NAMES.split())

SYS_ADMIN, SYS_PTRACE, SYS_CHROOT = NAMES.index("sys_admin"), NAMES.index("sys_ptrace"), NAMES.index("sys_chroot")
MKNOD, CHOWN = NAMES.index("mknod"), NAMES.index("chown")


def number_of(name: str) -> int | None:
    """Of a capability by its name, with or without cap_, in any case; None where there is none of that name."""
    word = name.lower().removeprefix("cap_")
    return NAMES.index(word) if word in NAMES else None


def effective() -> set[int]:
    """The calling thread's effective capabilities, by number."""
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    syscall(_CAPGET, header, data)
    low, _, _, high, _, _ = struct.unpack("=6I", data.raw)
    word = low | high << 32
    return {number for number in range(64) if word >> number & 1}


def limit(keep: set[int]) -> None:
    """Drop all capabilities but `keep` from every set of the calling thread, the bounding set included."""
    own = effective()
    for number in range(64):
        if number not in keep and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            break  # EINVAL: the kernel knows no capability from here on
    word = sum(1 << number for number in keep & own)
    low, high = word & 0xFFFFFFFF, word >> 32
    # Inheritable stays empty: it matters to files with capabilities only.
    syscall(_CAPSET, struct.pack("=Ii", _VERSION_3, 0), struct.pack("=6I", low, low, 0, high, high, 0))


def pass_on(number: int) -> None:
    """Programs that this process executes have a capability of its own too, whatever user they run as (ambient set)."""
    word = sum(1 << each for each in effective())
    low, high = word & 0xFFFFFFFF, word >> 32
    kept = 1 << number
    data = struct.pack("=6I", low, low, kept & 0xFFFFFFFF, high, high, kept >> 32)
    syscall(_CAPSET, struct.pack("=Ii", _VERSION_3, 0), data)
    libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number, 0, 0)


def show() -> None:
    """Take `hide` back, or what a change of the user has done in its place (prctl(2), PR_SET_DUMPABLE)."""
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def hide() -> None:
    """Nobody without CAP_SYS_PTRACE may ptrace this process or read its memory (PR_SET_DUMPABLE 0)."""
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit_bounding(keep: set[int]) -> None:
    """Drop all capabilities but `keep` from the bounding set, and empty the ambient one. Raises OSError."""
    for number in range(64):
        if number not in keep and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            if number < len(NAMES) and number in bounding():
                raise OSError(errno.EPERM, f"cap_{NAMES[number]} can't be dropped from the bounding set")
            if number >= len(NAMES):
                break  # EINVAL: the kernel knows no capability from here on
    libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)


def bounding() -> set[int]:
    """The calling thread's bounding set."""
    return {number for number in range(64) if libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1}


def anywhere() -> set[int]:
    """Those that are in any of the calling thread's five sets."""
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    syscall(_CAPGET, header, data)
    low, high = (words[0] | words[1] | words[2] for words in (struct.unpack_from("=3I", data.raw, at) for at in (0, 12)))
    word = low | high << 32
    found = {number for number in range(64) if word >> number & 1}
    ambient = {number for number in range(64) if libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_IS_SET, number, 0, 0) == 1}
    return found | ambient | bounding()


def keep_over_change(keep: bool) -> None:
    """Whether the permitted set stays when the user is changed from root to another (PR_SET_KEEPCAPS)."""
    libc.prctl(_PR_SET_KEEPCAPS, int(keep), 0, 0, 0)


def have_only(keep: set[int]) -> None:
    """Permitted, effective, inheritable and ambient are `keep`, so that the next program has them too. Raises OSError."""
    word = sum(1 << number for number in keep)
    low, high = word & 0xFFFFFFFF, word >> 32
    syscall(_CAPSET, struct.pack("=Ii", _VERSION_3, 0), struct.pack("=6I", low, low, low, high, high, high))
    for number in keep:
        if libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number, 0, 0) < 0:
            raise OSError(errno.EPERM, f"cap_{NAMES[number]} can't be passed on")
