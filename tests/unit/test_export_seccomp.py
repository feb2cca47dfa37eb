"""A seccomp profile says what was seen and the baseline, or why there is none."""

from __future__ import annotations

import json

import pytest
from hostile import made
from nouns import entry, manifest

from tests.unit.bpf_machine import Machine
from tracejail.errors import ExportError
from tracejail.export.seccomp import BASELINE
from tracejail.kernel import bpf
from tracejail.manifest import merge_runs
from tracejail.trace.call_program import at_entry


def test_what_was_seen_and_the_baseline() -> None:
    profile = json.loads(made("seccomp", manifest(syscalls=("accept4", "openat"))))
    assert profile["defaultErrnoRet"] == 38 and profile["architectures"] == ["SCMP_ARCH_X86_64"]
    (rule,) = profile["syscalls"]
    baseline = {name for names in BASELINE.values() for name in names}
    assert rule["action"] == "SCMP_ACT_ALLOW" and set(rule["names"]) == baseline | {"accept4"}
    assert not {"mount", "ptrace", "bpf", "init_module", "connect", "socket", "unshare"} & baseline


def test_none_were_noted() -> None:
    for jail in (manifest(), manifest(syscalls=("999",)), merge_runs(manifest(syscalls=("read",)), manifest(entry("/a")))):
        with pytest.raises(ExportError) as caught:
            made("seccomp", jail)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("number", "thread", "noted"), [(59, 1234, True), (59, 1235, False), (-1, 1234, False), (4096, 1234, False)],
)
def test_the_program_at_the_entry(number: int, thread: int, noted: bool) -> None:
    threads = {(1234 >> 3).to_bytes(4, "little"): 1 << 8 * (1234 & 7)}
    calls = {index.to_bytes(4, "little"): 0 for index in range(1024)}
    machine = Machine({3: threads, 4: calls}, (0, 0), thread, {}, key_sizes={3: 4, 4: 4})
    machine.run(bpf.assemble(at_entry(3, 4)), b"", number)
    assert calls[(number & 0xFFFFFFFF).to_bytes(4, "little")] & 0xFF == 1 if noted else not any(calls.values())
