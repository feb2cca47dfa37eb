"""The register layout that kernel/ptrace reads by struct is the one that python-ptrace states for this machine."""

from __future__ import annotations

import ctypes

from ptrace.binding.linux_struct import user_regs_struct

from tracejail.kernel import ptrace


def test_layout() -> None:
    names = [name for name, _ in user_regs_struct._fields_]
    assert names[:18] == [
        "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax",
        "rip", "cs",
    ]
    assert ctypes.sizeof(user_regs_struct) == len(ptrace._registers)
    assert (user_regs_struct.rax.offset, user_regs_struct.rip.offset) == (ptrace._RAX, ptrace._RIP)
