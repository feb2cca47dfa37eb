"""The engine that stops at each path-carrying call through a seccomp filter: works on every kernel since 5.3, also
where BPF is refused. One stop a call at its entry, a second one at its exit only where the hooks ask for the result.
"""

from __future__ import annotations

from tracejail.kernel import seccomp
from tracejail.kernel.ptrace import I386, X86_64
from tracejail.kernel.seccomp import Action

from .engine import Engine
from .table import ROWS


def seccomp_rules() -> dict[int, dict[int, Action]]:
    """What the filter says of each call, by architecture and number."""
    return {
        X86_64: {row.x86_64: row.trace for row in ROWS if row.x86_64 is not None},
        I386: {row.i386: row.trace for row in ROWS if row.i386 is not None},
    }


def seccomp_engine() -> Engine:
    """The engine as a value."""
    return Engine("seccomp", seccomp.pack(seccomp.assemble(seccomp_rules())))
