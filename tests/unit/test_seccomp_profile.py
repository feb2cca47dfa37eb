"""A profile as a filter: each call gets the answer of its rule, by the simulator of the filters."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from tracejail.kernel.ptrace import I386, X86_64
from tracejail.kernel.seccomp import simulate
from tracejail.seccomp_profile import read_profile

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_READ, _EXECVE, _MKDIR, _LAST = 0, 59, 83, 334     # syscall_64.tbl


def test_each_call_gets_its_answer(tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "syscalls": [
            {"names": ["read", "execve", "rseq", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"},
        ],
    }
    path = tmp_path / "profile"
    path.write_text(json.dumps(profile))
    data = read_profile(str(path))
    program = [struct.unpack_from("=HBBI", data, at) for at in range(0, len(data), 8)]
    expected = {_READ: _ALLOW, _EXECVE: _ALLOW, _LAST: _ALLOW, _MKDIR: _KILL}
    for number in range(600):
        assert simulate(program, X86_64, number) == expected.get(number, _ERRNO | 38), number
    assert simulate(program, I386, 3) == _ERRNO | 38
    assert simulate(program, X86_64, 0x40000000) == _ERRNO | 38


def test_a_filter_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "filter"
    path.write_bytes(struct.pack("=HBBI", 0x06, 0, 0, _ALLOW))
    assert read_profile(str(path)) == path.read_bytes()


def test_what_is_refused_can_not_be_had_by_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "profile"
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    data = read_profile(str(path))
    program = [struct.unpack_from("=HBBI", data, at) for at in range(0, len(data), 8)]
    assert simulate(program, X86_64, _MKDIR) == _ERRNO | 1
    assert simulate(program, X86_64, _READ) == _ALLOW
    assert simulate(program, I386, 39) == simulate(program, X86_64, 0x40000000 + _MKDIR) == _KILL
