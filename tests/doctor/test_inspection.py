"""What --static shows of the files alone, of a named program or of the whole jail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doctor.jails import copy, digest, empty_jail, put, script
from tests.tool import tracejail

_LIB = "/usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Seen:
    """A jail that need not be run to be found wanting."""

    name: str
    build: Callable[[Path], object]
    rule: str
    path: str


def _link(path: str, target: str) -> Callable[[Path], object]:
    def build(jail: Path) -> None:
        put(jail, "/bin/cat")
        (jail / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (jail / path[1:]).symlink_to(target)

    return build


def _stale(jail: Path) -> None:
    put(jail, "/bin/ls")
    (jail / "etc").mkdir(exist_ok=True)
    subprocess.run(["ldconfig", "-r", jail], check=True, capture_output=True)
    (jail / "opt/lib").mkdir(parents=True)
    (jail / f"{_LIB}/libselinux.so.1"[1:]).rename(jail / "opt/lib/libselinux.so.1")
    script(jail, "/etc/ld.so.conf", "/opt/lib\n", 0o644)


def _no_module(jail: Path) -> None:
    put(jail, "/bin/cat")
    copy(jail, f"{_LIB}/security/pam_permit.so")
    script(jail, "/etc/pam.d/app", "auth required pam_permit.so\n-auth optional pam_lost.so\nauth required pam_deny.so\n", 0o644)


def _no_trust(jail: Path) -> None:
    put(jail, "/bin/cat")
    script(jail, "/etc/ssl/certs/ca-certificates.crt", "", 0o644)


def _no_loader(jail: Path) -> None:
    put(jail, "/bin/cat", "/bin/dash")
    os.unlink(jail / f"{_LIB}/libc.so.6"[1:])


SEEN = (
    Seen("a link of alternatives", _link("/usr/bin/awk", "/etc/alternatives/awk"), "dangling-link", "/etc/alternatives/awk"),
    Seen("a link to a file of the host", _link("/etc/release", "os-release"), "dangling-link", "/etc/os-release"),
    Seen("a stale ld.so.cache", _stale, "stale-index", "/etc/ld.so.cache"),
    Seen("a module of pam.d", _no_module, "login-module", f"{_LIB}/security/pam_deny.so"),
    Seen("an empty bundle", _no_trust, "empty-trust", "/etc/ssl/certs/ca-certificates.crt"),
    Seen("a library of all programs", _no_loader, "library", f"/lib{_LIB.removeprefix('/usr/lib')}/libc.so.6"),
)


@pytest.mark.parametrize("seen", SEEN, ids=lambda seen: seen.name)
def test_seen(seen: Seen) -> None:
    with empty_jail() as jail:
        seen.build(jail)
        before = digest(jail)
        done = tracejail("doctor", "--static", "-j", jail, "--json", cwd=Path("/"))
        assert digest(jail) == before
        (found,) = [each for each in done.json["findings"] if (each["rule"], each["path"]) == (seen.rule, seen.path)]
        for command in found["remedy"]:
            subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
        after = tracejail("doctor", "--static", "-j", jail, "--json", cwd=Path("/")).json["findings"]
        assert [each for each in after if (each["rule"], each["path"]) == (seen.rule, seen.path)] == []
