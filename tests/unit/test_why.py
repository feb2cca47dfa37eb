"""Who needed a path."""

from __future__ import annotations

import pytest
from nouns import BECAUSE, directory, entry, link, manifest

from tracejail.errors import UsageError
from tracejail.model import Origin, PathNote
from tracejail.why import why

JAIL = manifest(
    directory("/lib"), directory("/usr"), directory("/usr/sbin"),
    entry("/usr/sbin/httpd", origin=Origin.ARGV, because=None, package="apache2-bin", version="2.4"),
    entry("/lib/libz.so.1.2", origin=Origin.ELF_NEEDED, via="/lib/libz.so.1"),
    link("/lib/libz.so.1", "libz.so.1.2", via="/usr/sbin/httpd"),
    absent=(PathNote("/etc/none", "not there", BECAUSE),),
    denied=(PathNote("/etc/shadow", "password hashes", BECAUSE),),
    sockets=(PathNote("/dev/log", "a socket", BECAUSE),),
)


def test_hop_by_hop_to_the_program() -> None:
    lines = why(JAIL, "/lib/libz.so.1.2")
    assert [line.partition(":")[0] for line in lines] == ["/lib/libz.so.1.2", "/lib/libz.so.1", "/usr/sbin/httpd"]
    assert "symbolic link to libz.so.1.2" in lines[1] and "command line" in lines[2]


def test_a_miss_says_who_and_how_it_was_spelled() -> None:
    (line,) = why(manifest(entry("/a")), "/a")
    assert all(word in line for word in (BECAUSE.program, BECAUSE.syscall, BECAUSE.spelled))


def test_package_and_parent() -> None:
    assert any("apache2-bin 2.4" in line for line in why(JAIL, "/usr/sbin/httpd"))
    assert any("/usr/sbin/httpd" in line for line in why(JAIL, "/usr/sbin"))


@pytest.mark.parametrize(("path", "word"), [("/etc/none", "host"), ("/etc/shadow", "denied"), ("/dev/log", "socket")])
def test_what_is_not_in_the_jail(path: str, word: str) -> None:
    (line,) = why(JAIL, path)
    assert word in line and BECAUSE.program in line


def test_a_ring_of_vias_ends() -> None:
    ring = manifest(link("/a", "b", via="/b"), link("/b", "a", via="/a"))
    assert len(why(ring, "/a")) == 2


def test_unknown_path() -> None:
    with pytest.raises(UsageError):
        why(JAIL, "/nowhere")
