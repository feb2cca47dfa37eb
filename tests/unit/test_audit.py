"""The pure parts of audit: names, words for a shell, ELF headers, the score, advisories."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracejail.audit.advisory import Package, open_ones, read
from tracejail.audit.contents import contents_of
from tracejail.audit.elf import is_odd, shape
from tracejail.audit.facts import Daemon, Facts, Item, Mounted
from tracejail.audit.naming import by_name
from tracejail.audit.needs import unneeded
from tracejail.audit.outward import sockets
from tracejail.audit.recognition import by_bytes
from tracejail.audit.remedy import quoted
from tracejail.audit.rules import ABOUT, weaknesses
from tracejail.audit.table import APPLETS, TOOLS
from tracejail.audit.version import compare
from tracejail.audit.weakness import MOST_OF_A_RULE, Severity, Weakness, score
from tracejail.errors import UsageError
from tracejail.model import Command, Entry, EntryType, HostIdentity, JailPath, Manifest, Origin, Use, Written
from tracejail.resolve.policy import secret

_EXAMPLES = int(os.environ.get("EXAMPLES", "100"))


def test_each_name_on_the_path_is_of_a_row_that_says_so() -> None:
    names = {name for place in ("/usr/bin", "/usr/sbin") for name in os.listdir(place)}
    names |= {word for _, words in APPLETS for word in words.split()} | {"nginx", "postgres", "redis-server", "x", ""}
    for name in names:
        rows = [tool for tool in TOOLS if tool.names and re.fullmatch(tool.names, name)]
        found = by_name(name)
        assert (found is None) == (not rows), name
        assert found is None or found in rows, name


_TOOLS = """
sh bash rbash bash5 zsh ksh93 mksh dash ash busybox toybox perl perl5.36.0 python3.11 pypy3 ruby3.1 lua5.4 php8.2 nodejs gcc
gcc-12 x86_64-linux-gnu-gcc-12 g++ c++ cc1 clang-14 ld.gold as tcc make curl wget nc nc.openbsd ncat socat ssh scp sftp ftp
tftp telnet rsync vi vim vim.tiny nano ed sed chmod chown mknod mount mount.nfs umount chroot setpriv unshare nsenter su
sudo setcap kmod insmod strace gdb dpkg apt-get cat cp mv dd tee env xargs find tar
"""
_DAEMONS = "nginx httpd apache2 redis-server postgres mariadbd sshd named php-fpm8.2 vsftpd squid"


@pytest.mark.parametrize("name", _TOOLS.split())
def test_names_that_must_be_known(name: str) -> None:
    assert by_name(name) is not None


@pytest.mark.parametrize("name", _DAEMONS.split())
def test_a_daemon_is_no_tool(name: str) -> None:
    assert by_name(name) is None


@settings(max_examples=_EXAMPLES, deadline=None)
@given(st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"")))
def test_a_path_is_one_word_for_a_shell(data: bytes) -> None:
    word = quoted(os.fsdecode(b"/srv/" + data))
    assert word.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout == b"/srv/" + data


@settings(max_examples=_EXAMPLES)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x7fELF", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0"]))
def test_no_header_makes_it_fail(data: bytes, start: bytes) -> None:
    assert shape(start + data) in ("", "program", "library", "core", "object")
    is_odd(start + data)
    by_bytes(start + data)
    contents_of("/etc/passwd", start + data, lambda path, beginning: None)


def test_headers_of_real_files() -> None:
    assert shape(Path("/bin/bash").read_bytes()) == "program"
    assert shape(Path("/lib/x86_64-linux-gnu/libz.so.1").read_bytes()) == "library"
    assert shape(b"#!/bin/sh\n") == ""
    data = Path("/bin/bash").read_bytes()
    assert not is_odd(data)
    assert [tool.name for tool in by_bytes(data)] == ["bash"]


def _found(rule: str, severity: Severity, number: int) -> Weakness:
    return Weakness(rule, severity, f"/{number}", "", "")


def test_the_score() -> None:
    assert score(()) == 0
    assert score([_found("a", Severity.HIGH, 1), _found("a", Severity.LOW, 2), _found("b", Severity.INFO, 3)]) == 11
    assert score([_found("a", Severity.MEDIUM, number) for number in range(100)]) == 4 * MOST_OF_A_RULE


def test_each_rule_has_its_line() -> None:
    package = Path(__file__).parents[2] / "tracejail/audit"
    told = {
        match[1] for path in package.glob("*.py") for match in re.finditer(r"Weakness\(\s*\"([a-z-]+)\"", path.read_text("utf-8"))
    }
    assert len(told) > 20
    assert told <= set(ABOUT)


def _link(path: str, target: str) -> Item:
    return Item(path, EntryType.SYMLINK, 0o777, 0, 0, target=target)


def test_links_are_followed_within() -> None:
    items = (
        Item("/a", EntryType.DIRECTORY, 0o755, 0, 0), Item("/a/file", EntryType.FILE, 0o644, 0, 0), _link("/up", "../../a/file"),
        _link("/a/absolute", "/up"), _link("/round", "/round"), _link("/b", "a"), _link("/nowhere", "/c"), _link("/root", "/"),
    )
    facts = Facts("/srv/jail", items)
    paths = ("/up", "/a/absolute", "/round", "/b/file", "/nowhere")
    ends = {path: (end.path if (end := facts.end(path)) else "") for path in paths}
    assert ends == {"/up": "/a/file", "/a/absolute": "/a/file", "/round": "", "/b/file": "/a/file", "/nowhere": ""}
    assert [(each.rule, each.path) for each in weaknesses(facts) if each.severity is not Severity.INFO] == [("link-out", "/up")]


@pytest.mark.parametrize("document", ([], {"a": []}, "x", 3, None))
def test_advisories_that_are_none(document: object) -> None:
    with pytest.raises(UsageError):
        read(document, "bookworm")


def test_odd_rows_of_advisories_are_left_out() -> None:
    odd = {"CVE-1": [], "CVE-2": {"releases": []}, "CVE-3": {"releases": {"x": 3}}, "CVE-5": {"releases": {"x": {}}}}
    found = read({"a": {**odd, "CVE-4": {"releases": {"x": {"status": "open"}}}}}, "x")
    assert [row.number for rows in found.values() for row in rows] == ["CVE-4"]
    package = Package("a", "1.0", "a", "1.0")
    assert [row.number for row in open_ones(package, found["a"])] == ["CVE-4"]


_NAMES = st.sampled_from("abc")
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map(lambda names: JailPath("/" + "/".join(names)))


def _with_above(paths: set[JailPath]) -> set[str]:
    return {"/" + "/".join(path.strip("/").split("/")[:count]) for path in paths for count in range(1, path.count("/") + 1)}


@settings(max_examples=_EXAMPLES)
@given(st.sets(_PATHS, max_size=12), st.sets(_PATHS, max_size=4), st.sets(_PATHS, max_size=2), st.sets(_PATHS, max_size=2))
def test_what_is_needed_is_never_told_to_be_removed(
    there: set[JailPath], needed: set[JailPath], written: set[JailPath], mounted: set[JailPath]
) -> None:
    everything = sorted(_with_above(there | needed | written | mounted))
    entries = tuple(
        Entry(JailPath(path), EntryType.DIRECTORY, 0o755, 0, 0, Origin.MISS) for path in sorted(_with_above(needed))
    )
    places = tuple(Written(path, EntryType.DIRECTORY, 0o755, 1, 1, Use.STATE) for path in sorted(written))
    facts = Facts(
        "/srv/jail", tuple(Item(path, EntryType.DIRECTORY, 0o755, 0, 0) for path in everything),
        Manifest(Command(("/a",)), HostIdentity("/", "", "", ""), "/srv/jail", True, entries=entries, written=places),
        mounts=tuple(Mounted(path, "tmpfs", frozenset()) for path in sorted(mounted)),
    )
    tops = [item.path for item in unneeded(facts)]
    gone = {path for path in everything if any(f"{path}/".startswith(f"{top}/") for top in tops)}
    held = {path for path in everything if any(f"{path}/".startswith(f"{place}/") for place in (*written, *mounted))}
    assert not gone & (_with_above(needed | written | mounted) | held)
    assert set(everything) == gone | held | _with_above(needed | written | mounted)
    assert not [top for top in tops if any(top != other and top.startswith(f"{other}/") for other in tops)]


@pytest.mark.parametrize(("at", "value"), ((4, 1), (4, 0), (5, 2), (5, 0), (6, 0)))
def test_a_byte_that_the_kernel_does_not_read_hides_nothing(at: int, value: int) -> None:
    data = bytearray(Path("/bin/bash").read_bytes())
    data[at] = value
    assert shape(bytes(data)) == "program"
    assert is_odd(bytes(data))
    assert contents_of("/x", bytes(data), lambda path, start: None).odd


@pytest.mark.parametrize("flags", (5, 6, 7))
def test_program_headers_hide_nothing(flags: int) -> None:
    data = bytearray(Path("/usr/bin/perl").read_bytes())
    (table,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    for index in range(count):
        struct.pack_into("<II", data, table + index * 56, 1, flags)   # all are PT_LOAD
    assert "perl" in {tool.name for tool in by_bytes(bytes(data))}


def test_real_programs_are_not_odd() -> None:
    for name in os.listdir("/usr/bin"):
        if os.path.isfile(f"/usr/bin/{name}"):
            with open(f"/usr/bin/{name}", "rb") as stream:
                assert not is_odd(stream.read(1 << 16)), name


def test_a_long_name_of_a_socket_takes_no_time() -> None:
    names = ("libvirt/" + "sock" * 5000, "ssh-" * 5000, "docker" * 5000, "/".join(["S-1/2."] * 5000))
    items = tuple(Item(f"/{name}\n", EntryType.SOCKET, 0o777, 0, 0) for name in names)
    began = time.process_time()
    tuple(sockets(Facts("/j", items)))
    assert time.process_time() - began < 2
    real = ("/run/libvirt/libvirt-sock", "/run/docker.sock", "/run/user/1000/bus", "/run/dbus/system_bus_socket")
    told = sockets(Facts("/j", tuple(Item(path, EntryType.SOCKET, 0o777, 0, 0) for path in real)))
    assert [each.path for each in told] == list(real)


def test_versions_with_many_digits() -> None:
    assert compare("9" * 5000, "9" * 5001) < 0
    assert compare("9" * 5000 + ":1", "1") > 0
    assert compare("0" * 5000 + "1", "1") == 0


_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"


@pytest.mark.parametrize(("path", "text", "kind"), (
    ("/srv/a.json", f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{_BODY}\\n"}}', "a private key"),
    ("/srv/a.yaml", f"  key: |\n    -----BEGIN RSA PRIVATE KEY-----\n    {_BODY}\n", "a private key"),
    ("/srv/doc", "it begins with -----BEGIN PRIVATE KEY----- and goes on\n", ""),
    ("/srv/a", "ASIA" + "A1B2" * 4, "a token"),
    ("/srv/a", 'aws_secret_access_key = "' + "aB3/" * 10 + '"', "a token"),
    ("/srv/a", "github_pat_" + "a1B2" * 6, "a token"),
    ("/srv/a", "k=sk_live_" + "a1B2" * 6, "a token"),
    ("/srv/a", "AIza" + "a1B2-" * 7, "a token"),
    ("/srv/a", "//registry/:_authToken=npm_" + "a1B2" * 9, "a token"),
    ("/srv/a", "sk_live_", ""),
    ("/srv/a", "DATABASE_URL=mydb+x://app:Zw3pass@db.example/app", "a password in an address"),
    ("/srv/a", "see http://user:password@example.org/", ""),
    ("/srv/a", "mydb://${USER}:${PASSWORD}@db/", ""),
    ("/root/.zhistory", "x", "what a user typed"),
    ("/root/.ssh/known_hosts", "host ssh-ed25519 AAAA", ""),
    ("/root/.ssh/id_rsa.pub", "ssh-rsa AAAA", ""),
    ("/root/.ssh/config", "Host x", "a user's SSH files"),
))
def test_secrets_by_their_form(path: str, text: str, kind: str) -> None:
    said = contents_of(path, text.encode(), secret).secret
    assert said.startswith(kind) if kind else said == "", said


@pytest.mark.parametrize("piece", (
    b"-----BEGIN ", b"-----BEGIN A PRIVATE KEY-----\n", b"a://a:b", b"aws_secret_access_key \t", b"A-: ", b"a", b"\\n",
))
def test_no_text_makes_it_slow(piece: bytes) -> None:
    data = (b"://PRIVATE KEY AKIA" + piece * (1 << 16))[: 1 << 16]
    began = time.process_time()
    contents_of("/srv/x", data, lambda path, start: None)
    assert time.process_time() - began < 2


def test_code_by_its_name() -> None:
    daemon = Daemon(33, frozenset((33,)))
    rows = {"/usr/lib/app/a.py": True, "/srv/www/i.php": True, "/srv/www/i.html": False, "/var/spool/a.py": False}
    facts = Facts("/j", tuple(Item(path, EntryType.FILE, 0o644, 33, 33) for path in rows), daemon=daemon)
    assert {each.path for each in weaknesses(facts) if each.rule == "writable-code"} == {path for path, so in rows.items() if so}


def test_what_is_preloaded() -> None:
    loads = contents_of("/etc/ld.so.preload", b"/lib/a.so:/lib/b.so\n/lib/c.so", lambda path, start: None)
    assert loads.loads == ("/lib/a.so", "/lib/b.so", "/lib/c.so")

    def found(mode: int, *others: tuple[str, int, int]) -> set[str]:
        items = (Item("/etc/ld.so.preload", EntryType.FILE, mode, 0, 0, contents=loads),
                 *(Item(path, EntryType.DIRECTORY, 0o755, 0, 0) for path in ("/etc", "/lib")),
                 *(Item(path, EntryType.FILE, mode, uid, 0) for path, mode, uid in others))
        return {each.path for each in weaknesses(Facts("/j", items)) if each.rule == "preload"}

    assert found(0o644, ("/lib/a.so", 0o644, 0)) == set()
    assert found(0o646) == {"/etc/ld.so.preload"}
    assert found(0o644, ("/lib/a.so", 0o644, 33), ("/lib/c.so", 0o666, 0)) == {"/lib/a.so", "/lib/c.so"}
