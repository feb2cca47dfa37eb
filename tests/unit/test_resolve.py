"""Scripts, ELF headers, the policy, accounts and ld.so.cache: pure parts, on bytes made here."""

from __future__ import annotations

import os
import struct
import tempfile

import pytest

from tracejail.model import Accounts, EntryType, JailPath
from tracejail.resolve.accounts import reduce_group, reduce_passwd
from tracejail.resolve.elf import program_interpreter, read_elf
from tracejail.resolve.host import HostNode
from tracejail.resolve.loader import CacheLibrary, read_cache, reduce_cache, write_cache
from tracejail.resolve.policy import harmless, judge
from tracejail.resolve.scripts import interpreter_argument, interpreter_line

KEY = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n"


def node(path: str, kind: EntryType = EntryType.FILE, mode: int = 0o644, device: tuple[int, int] | None = None) -> HostNode:
    return HostNode(JailPath(path), kind, mode, 0, 0, 100, 0, (1, 1), 1, "", device, "")


@pytest.mark.parametrize(("start", "interpreter", "argument"), [
    (b"#!/bin/sh\n", "/bin/sh", ""),
    (b"#! /usr/bin/env python3 -u\n", "/usr/bin/env", "python3 -u"),
    (b"#!\t/bin/sh \t-e \nrest", "/bin/sh", "-e"),
    (b"#!/bin/sh", "/bin/sh", ""),
    (b"#!relative arg\n", "relative", "arg"),
    (b"#!\n", None, ""),
    (b"#!   \n/bin/sh", None, ""),
    (b"no script", None, ""),
    (b"#!/" + b"x" * 300, None, ""),
])
def test_scripts(start: bytes, interpreter: str | None, argument: str) -> None:
    assert interpreter_line(start) == interpreter
    assert interpreter_argument(start) == argument


def elf(interpreter: bytes, offset: int = 64, count: int = 1) -> bytes:
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, offset, 0, 0, 64, 56, count, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(interpreter) + 1, len(interpreter) + 1, 1)
    return header + program + interpreter + b"\0"


@pytest.mark.parametrize(("data", "wanted"), [
    (elf(b"/lib64/ld.so"), "/lib64/ld.so"),
    (elf(b"/lib64/ld.so")[:80], None),
    (elf(b"/lib64/ld.so", offset=1 << 63), None),
    (elf(b"/lib64/ld.so", count=65535), None),
    (elf(b"", count=1), None),
    (b"\x7fELF", None),
    (b"", None),
])
def test_elf_interpreter(data: bytes, wanted: str | None) -> None:
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.flush()
        assert program_interpreter(stream.fileno()) == wanted
        stream.seek(0)
        read_elf(stream)  # whatever is in it, it raises nothing


@pytest.mark.parametrize(("path", "start", "reason"), [
    ("/etc/shadow", b"", "hashes"),
    ("/etc/shadow-", b"", "hashes"),
    ("/root/.ssh/id_rsa", b"", "SSH"),
    ("/home/a/.bash_history", b"", "typed"),
    ("/srv/app/server.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + KEY, "private key"),
    ("/run/x.pid", b"1234\n", "runtime"),
    ("/var/lib/db/postmaster.pid", b"1234\n/var/lib\n", "runtime"),
])
def test_what_the_policy_denies(path: str, start: bytes, reason: str) -> None:
    verdict = judge(JailPath(path), node(path), start, ())
    assert not verdict.allowed and reason in verdict.reason
    assert judge(JailPath(path), node(path), start, (path,)).allowed


@pytest.mark.parametrize(("path", "start"), [
    ("/usr/lib/libcrypto.so", b"\x7fELF\0\0" + KEY),
    ("/usr/lib/python3/pem.py", b'MARK = "-----BEGIN PRIVATE KEY-----"\n'),
    ("/usr/share/doc/x", b"a -----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n"),
    ("/run/systemd/resolve/resolv.conf", b"nameserver 127.0.0.53\n"),
    ("/etc/passwd", b"root:x:0:0::/root:/bin/sh\n"),
])
def test_what_the_policy_lets_in(path: str, start: bytes) -> None:
    assert judge(JailPath(path), node(path), start, ()).allowed


def test_devices_and_set_id_bits() -> None:
    assert judge(JailPath("/dev/null"), node("/dev/null", EntryType.CHARACTER, device=(1, 3)), b"", ()).allowed
    assert not judge(JailPath("/dev/kmem"), node("/dev/kmem", EntryType.CHARACTER, device=(1, 2)), b"", ()).allowed
    assert not judge(JailPath("/dev/sda"), node("/dev/sda", EntryType.BLOCK, device=(8, 0)), b"", ()).allowed
    assert judge(JailPath("/usr/bin/su"), node("/usr/bin/su", mode=0o4755), b"", ()).mode == 0o755
    assert judge(JailPath("/usr/bin/su"), node("/usr/bin/su", mode=0o4755), b"", ("/usr/bin/su",)).mode == 0o4755


def test_harmless_absences() -> None:
    assert harmless("/etc/ld.so.preload") and harmless("/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libc.so.6")
    assert harmless("/etc/app.conf") is None


PASSWD = b"root:x:0:0:root:/root:/bin/sh\nwww:$6$hash:33:33::/:/x\nother:x:9:9::/:/x\n+nis\nbroken\n"
GROUP = b"root:x:0:\nwww:x:33:www,other\nother:x:9:\n"


def test_accounts_are_reduced_and_lose_their_hashes() -> None:
    kept = Accounts(False, ("root", "www"), ("root", "www"))
    assert reduce_passwd(PASSWD, kept) == b"root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/x\n"
    assert reduce_group(GROUP, kept) == b"root:x:0:\nwww:x:33:www\n"


LIBRARIES = [
    CacheLibrary("libz.so.1", "/lib/libz.so.1", 0x0303),
    CacheLibrary("libfoo.so.10", "/opt/libfoo.so.10", 0x0303),
    CacheLibrary("libfoo.so.9", "/opt/libfoo.so.9", 0x0303),
]


def test_a_cache_survives_a_round_trip() -> None:
    data = write_cache(LIBRARIES)
    assert set(read_cache(data)) == set(LIBRARIES)
    assert [row.soname for row in read_cache(data)] == ["libz.so.1", "libfoo.so.10", "libfoo.so.9"]
    assert write_cache(list(reversed(LIBRARIES))) == data
    assert [row.path for row in read_cache(reduce_cache(data, lambda path: path.startswith("/lib")))] == ["/lib/libz.so.1"]


def test_a_hostile_cache_raises_nothing() -> None:
    data = write_cache(LIBRARIES)
    for length in range(len(data)):
        read_cache(data[:length])
    for position in range(len(data)):
        read_cache(data[:position] + os.urandom(1) + data[position + 1:])
