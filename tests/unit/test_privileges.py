"""Which capabilities what a program was seen to do takes."""

from __future__ import annotations

import stat

import pytest
from nouns import entry, manifest

from tracejail.model import Command, EntryType, JailPath, SyscallRecord, Use, Written
from tracejail.trial.privileges import of_address, of_call, taken


def _call(name: str, *words: int) -> SyscallRecord:
    return SyscallRecord(1, 1, "/bin/d", name, "x86-64", (), words=words)


@pytest.mark.parametrize(("call", "names"), [
    (_call("setresuid", 33, 33, 33), {"setuid", "kill"}),
    (_call("setgroups", 4), {"setgid"}),
    (_call("chroot"), {"sys_chroot"}),
    (_call("fchown", 3, 33, 33), {"chown", "dac_override", "fowner"}),
    (_call("mknod", 0, stat.S_IFCHR | 0o600), {"mknod"}),
    (_call("mknod", 0, stat.S_IFIFO | 0o600), set()),
    (_call("mknodat", 0, 0, stat.S_IFBLK), {"mknod"}),
    (_call("listen", 3), set()),
])
def test_calls(call: SyscallRecord, names: set[str]) -> None:
    assert set(of_call(call)) == names


@pytest.mark.parametrize(("address", "low"), [
    ("0.0.0.0:80", True), ("[::]:1023", True), ("127.0.0.1:1024", False), ("[::1]:10230", False), ("unix:/run/a:80", False),
])
def test_addresses(address: str, low: bool) -> None:
    assert of_address(address) == (("net_bind_service",) if low else ())


def test_what_a_manifest_takes() -> None:
    place = Written(JailPath("/var/log/d"), EntryType.DIRECTORY, 0o750, 33, 4, Use.LOG)
    jail = manifest(entry("/usr/lib/libaudit.so.1"), command=Command(("/bin/d",)), listens=("[::]:25",), written=(place,))
    assert taken(jail, ("setuid",)) == ("audit_write", "dac_override", "net_bind_service", "setuid")
    user = manifest(command=Command(("/bin/d",), uid=33), listens=("[::]:25",), written=(place,))
    assert taken(user, ("setuid",)) == ("net_bind_service",)
