"""Refusals that this machine can't make: of a security module; and whose filter it is that refuses."""

from __future__ import annotations

import errno
from pathlib import Path

from tracejail.doctor.facts import Call, Facts, RunFacts, State
from tracejail.doctor.powers import filters
from tracejail.doctor.refused import confined
from tracejail.model import PathArgument, SyscallRecord, Want
from tracejail.resolve.host import open_host_root
from tracejail.views import View


def _facts(place: Path, name: str, label: str = "", seccomp: int = 0, error: int = errno.EACCES) -> Facts:
    tree = View(open_host_root(str(place)))
    argument = PathArgument("/etc/named.conf", "/", "/", Want.OBJECT, True)
    record = SyscallRecord(7, 7, "/usr/sbin/named", name, "x86-64", (argument,), 0, -error, ())
    state = State(0, 0, (), frozenset(range(40)), seccomp, False, (), label)
    run = RunFacts((Call(1, record, "/etc/named.conf", state=state),), "exited with status 1", healthy=False)
    return Facts(tree, tree, ("/usr/sbin/named",), "/usr/sbin/named", run=run)


def test_a_security_module_is_named_with_its_label(tmp_path: Path) -> None:
    (finding,) = confined(_facts(tmp_path, "openat", "named (enforce)"))
    assert finding.path == "/etc/named.conf"
    assert "named (enforce)" in finding.message


def test_a_profile_that_only_complains_refuses_nothing(tmp_path: Path) -> None:
    for label in ("named (complain)", "unconfined", ""):
        assert list(confined(_facts(tmp_path, "openat", label))) == []


def test_a_filter_is_at_fault_only_where_there_is_one(tmp_path: Path) -> None:
    facts = _facts(tmp_path, "openat", seccomp=2, error=errno.EPERM)
    assert [finding.rule for finding in filters(facts)] == ["filtered"]
    assert list(filters(_facts(tmp_path, "openat", seccomp=0, error=errno.EPERM))) == []
