"""Modules of account services: which of them, and of their libraries, a jail can be tried without."""

from __future__ import annotations

from pathlib import Path

import pytest
from nouns import entry, link

from tracejail.model import Content, Entry
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.resolve.modules import of_account_modules

NSSWITCH = b"passwd: files systemd sss\ngroup: files systemd sss\nnetgroup: sss\nhosts: files resolve dns\n"
MODULE, CAP = "/lib/libnss_systemd.so.2", "/lib/libcap.so.2"


@pytest.fixture()
def host(tmp_path: Path) -> HostRoot:
    for name in ("etc", "lib", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc/nsswitch.conf").write_bytes(NSSWITCH)
    return open_host_root(str(tmp_path))


def jail(top: Path, needs: dict[str, tuple[str, ...]]) -> dict[str, Entry]:
    """ELF files and the names that are strings in them."""
    entries: list[Entry] = [entry("/etc/nsswitch.conf", content=Content.NSSWITCH)]
    for path, names in needs.items():
        (top / path[1:]).write_bytes(b"\x7fELF\0" + b"\0".join(name.encode() for name in names) + b"\0")
        entries.append(entry(path))
    return {one.path: one for one in entries}


def test_a_module_goes_with_what_is_its_own(tmp_path: Path, host: HostRoot) -> None:
    entries = jail(tmp_path, {
        "/bin/prog": ("libc.so.6",), "/lib/libc.so.6": ("libc.so.6",), MODULE: ("libcap.so.2", "libm.so.6", "libc.so.6"),
        "/lib/libcap.so.2.66": ("libcap.so.2", "libdeep.so.1"), "/lib/libdeep.so.1": ("libc.so.6",),
        "/lib/libm.so.6": (), "/lib/libother.so.1": ("libm.so.6",),
    })
    entries[CAP] = link(CAP, "libcap.so.2.66")
    assert of_account_modules(host, entries) == {MODULE, CAP, "/lib/libcap.so.2.66", "/lib/libdeep.so.1"}


def test_one_that_is_opened_by_another_stays(tmp_path: Path, host: HostRoot) -> None:
    entries = jail(tmp_path, {MODULE: ("libcap.so.2",), CAP: (), "/lib/pam_systemd.so": ("/usr/lib/libnss_systemd.so.2",)})
    assert of_account_modules(host, entries) == frozenset()


def test_one_that_serves_other_databases_stays(tmp_path: Path, host: HostRoot) -> None:
    entries = jail(tmp_path, {"/lib/libnss_sss.so.2": (), "/lib/libnss_resolve.so.2": (), "/lib/libnss_none.so.2": ()})
    assert of_account_modules(host, entries) == frozenset()


def test_without_the_file_or_a_module(tmp_path: Path, host: HostRoot) -> None:
    assert of_account_modules(host, jail(tmp_path, {"/bin/prog": ()})) == frozenset()
    entries = jail(tmp_path, {MODULE: ()})
    del entries["/etc/nsswitch.conf"]
    assert of_account_modules(host, entries) == frozenset()
