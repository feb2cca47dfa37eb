"""Owners of paths, from data bases made by hand."""

from __future__ import annotations

import os
from pathlib import Path

from tracejail.resolve.host import open_host_root
from tracejail.resolve.packages import owners


def _dpkg(root: Path, lists: dict[str, str], status: str, diversions: str = "") -> None:
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    for name, text in lists.items():
        (root / f"var/lib/dpkg/info/{name}.list").write_text(text)
    (root / "var/lib/dpkg/status").write_text(status)
    (root / "var/lib/dpkg/diversions").write_text(diversions)


STATUS = """\
Package: coreutils
Status: install ok installed
Architecture: amd64
Version: 9.1-1

Package: libc6
Architecture: i386
Version: 1-i386

Package: libc6
Architecture: amd64
Version: 1-amd64

Package: fixes
Version: 2
"""


def test_dpkg(tmp_path: Path) -> None:
    _dpkg(
        tmp_path,
        {
            "coreutils": "/.\n/bin\n/bin/ls\n/usr/bin/cat\n",
            "libc6:amd64": "/lib/x86_64-linux-gnu/libc.so.6\n",
            "libc6:i386": "/lib/i386-linux-gnu/libc.so.6\n",
        },
        STATUS,
    )
    asked = ["/usr/bin/ls", "/bin/cat", "/srv/x", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/i386-linux-gnu/libc.so.6"]
    assert owners(open_host_root(str(tmp_path)), asked) == {
        "/usr/bin/ls": ("coreutils", "9.1-1"),
        "/bin/cat": ("coreutils", "9.1-1"),
        "/usr/lib/x86_64-linux-gnu/libc.so.6": ("libc6:amd64", "1-amd64"),
        "/lib/i386-linux-gnu/libc.so.6": ("libc6:i386", "1-i386"),
    }


def test_diversion(tmp_path: Path) -> None:
    _dpkg(
        tmp_path,
        {"coreutils": "/usr/bin/tool\n", "fixes": "/usr/bin/tool\n"},
        STATUS,
        "/usr/bin/tool\n/usr/bin/tool.distrib\nfixes\n",
    )
    assert owners(open_host_root(str(tmp_path)), {"/usr/bin/tool", "/usr/bin/tool.distrib"}) == {
        "/usr/bin/tool": ("fixes", "2"),
        "/usr/bin/tool.distrib": ("coreutils", "9.1-1"),
    }


def test_apk(tmp_path: Path) -> None:
    (tmp_path / "lib/apk/db").mkdir(parents=True)
    (tmp_path / "lib/apk/db/installed").write_text("P:musl\nV:1.2\nF:lib\nR:libc.so\nF:etc\n\nP:busybox\nV:1.36\nF:bin\nR:sh\n")
    assert owners(open_host_root(str(tmp_path)), ["/lib/libc.so", "/bin/sh", "/bin/ls"]) == {
        "/lib/libc.so": ("musl", "1.2"),
        "/bin/sh": ("busybox", "1.36"),
    }


def test_no_data_base(tmp_path: Path) -> None:
    assert owners(open_host_root(str(tmp_path)), ["/bin/sh"]) == {}


def test_lists_of_all_kinds(tmp_path: Path) -> None:
    _dpkg(tmp_path, {"coreutils": "/.\n/bin/ls", "empty": "", "fixes": "/a b\n/c\nd\n"}, STATUS)
    info = tmp_path / "var/lib/dpkg/info"
    os.mkfifo(info / "pipe.list")
    (info / "libc6.list").symlink_to("real")
    (info / "real").write_text("/lib/libc.so.6\n")
    (info / "away.list").symlink_to("/etc/passwd")
    (info / "directory.list").mkdir()
    assert owners(open_host_root(str(tmp_path)), ["/bin/ls", "/a b", "/c\nd", "/lib/libc.so.6"]) == {
        "/bin/ls": ("coreutils", "9.1-1"), "/a b": ("fixes", "2"), "/lib/libc.so.6": ("libc6", "1-amd64"),
    }


def test_the_first_by_name_has_a_directory(tmp_path: Path) -> None:
    _dpkg(tmp_path, {"b": "/usr\n/usr/b\n", "a": "/usr\n/usr/a\n", "libc6:i386": "/usr\n"}, STATUS + "\nPackage: a\nVersion: 7\n")
    assert owners(open_host_root(str(tmp_path)), ["/usr", "/usr/b"]) == {"/usr": ("a", "7"), "/usr/b": ("b", "")}
