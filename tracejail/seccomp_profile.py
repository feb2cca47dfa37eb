"""A file that says which system calls are allowed, as a filter: a profile of the OCI (runtime-spec, config-linux.md), as
`export seccomp` writes it, or the filter itself, an array of struct sock_filter, as bwrap(1) takes it."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from typing import Any

from tracejail.errors import UsageError
from tracejail.kernel.ptrace import X86_64, syscall_names
from tracejail.kernel.seccomp import answering, pack, simulate

_MOST = 1 << 20          # bytes of a file
_MOST_INSTRUCTIONS = 4096   # BPF_MAXINSNS
_ERRNO = 0x00050000
# SECCOMP_RET_*, linux/seccomp.h.
_ANSWERS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
}
_PASSES = (_ANSWERS["SCMP_ACT_ALLOW"], _ANSWERS["SCMP_ACT_LOG"])
_EXECVE = 59   # syscall_64.tbl
_HINT = "tracejail export seccomp MANIFEST makes one"


def read_profile(path: str) -> bytes:
    """The packed filter. Raises UsageError."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MOST + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", _HINT) from None
    if len(data) > _MOST or not data:
        raise UsageError(f"{path}: is no seccomp profile", _HINT)
    if data.lstrip()[:1] != b"{":
        if len(data) % 8 or len(data) // 8 > _MOST_INSTRUCTIONS:
            raise UsageError(f"{path}: is neither a profile in JSON nor a filter", _HINT)
        return data
    try:
        profile = json.loads(data)
        default = _answer(profile, "defaultAction", "defaultErrnoRet")
        # By the calls of another architecture all that is refused could be had, if they were not: as libseccomp does it.
        others = _ANSWERS["SCMP_ACT_KILL_PROCESS"] if default in _PASSES else default
        program = answering({X86_64: _rows(profile)}, default, others)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise UsageError(f"{path}: {error}", _HINT) from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply", _HINT) from None
    if simulate(program, X86_64, _EXECVE) not in _PASSES:
        raise UsageError(f"{path}: does not allow execve, by which the program is started", _HINT)
    return pack(program)


def _rows(profile: Mapping[str, Any]) -> dict[int, int]:
    """Of each call what it gets. Raises ValueError."""
    # Some names are there again for x32, with numbers from 512 on (syscall_64.tbl).
    numbers = {name: number for number, name in sorted(syscall_names().items(), reverse=True)}
    rows: dict[int, int] = {}
    for rule in profile.get("syscalls", ()):
        if rule.get("args") or rule.get("includes") or rule.get("excludes"):
            raise ValueError("rules with conditions (args, includes, excludes) are not understood")
        word = _answer(rule, "action", "errnoRet")
        for name in (*rule.get("names", ()), *([rule["name"]] if "name" in rule else ())):
            if name in numbers:   # calls of other architectures, and of later kernels, are named in many a profile
                rows[numbers[name]] = word
    return rows


def _answer(rule: Mapping[str, Any], action: str, code: str) -> int:
    name = rule.get(action)
    if name not in _ANSWERS:
        raise ValueError(f"{action} {name!r}: is not one of {' '.join(_ANSWERS)}")
    number = int(rule.get(code, errno.EPERM))
    if not 0 < number < 4096:
        raise ValueError(f"{code} {number}: is no errno")
    return _ANSWERS[name] | (number if _ANSWERS[name] == _ERRNO else 0)
