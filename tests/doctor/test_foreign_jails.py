"""Jails that other tools made: the healthy ones have no cause, running or by their files; the broken ones the right one first."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.foreign import by_ldd, compiled, debootstrap, mount, package_files, packages, run, skeleton
from tests.doctor.jails import Case, by_chroot, devices, digest, empty_jail
from tests.tool import tracejail

_HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
_ZLIB = '#include <stdio.h>\nconst char *word(void);\nint main(void) { puts(word()); return 0; }\n'
_WORD = 'const char *word(void) { return "hello"; }\n'
_TRIPLE = "x86_64-linux-gnu"
_SECTION = "[base]\ncomment = base\npaths = bash, ls, cat, date, id, /bin/sh\nusers = root\ngroups = root\ndevices = /dev/null\n"


def _jailkit(jail: Path) -> None:
    """jk_init, with a section of one's own: those of the package want a log socket of the host."""
    configuration = jail.parent / "jk_init.ini"
    configuration.write_text(_SECTION)
    # It wants a place that nobody else may write above: /tmp is none.
    made = "mount --bind $0 /mnt && jk_init -c /mnt/jk_init.ini -j /mnt/jail base && jk_cp -j /mnt/jail /usr/bin/perl"
    run("unshare", "--mount", "sh", "-ec", made, jail.parent)


def _bubblewrap(jail: Path) -> None:
    """bwrap --ro-bind /usr/lib64 /usr/lib64 ... --tmpfs /tmp --dev /dev: links, binds that are read-only, nodev and nosuid."""
    skeleton(jail)
    for name in ("bin", "lib", "lib64"):
        (jail / "usr" / name).mkdir()
        (jail / name).symlink_to(f"usr/{name}")
    for name in (f"usr/lib/{_TRIPLE}", "usr/lib64"):
        (jail / name).mkdir(exist_ok=True)
        mount(jail / name, "--bind", f"/{name}")
        mount(jail / name, "-o", "remount,bind,ro,nosuid,nodev")
    for name in ("dash", "ls", "id", "cat"):
        (jail / "usr/bin" / name).touch()
        mount(jail / "usr/bin" / name, "--bind", f"/usr/bin/{name}")
    (jail / "usr/bin/sh").symlink_to("dash")
    (jail / "etc/passwd").touch()
    mount(jail / "etc/passwd", "--bind", "/etc/passwd")
    for name, options in (("tmp", "nosuid,nodev,mode=1777"), ("dev", "nosuid,mode=755")):
        mount(jail / name, "-t", "tmpfs", "-o", options, "tmpfs")
    for name in ("null", "zero"):
        (jail / "dev" / name).touch()
        mount(jail / "dev" / name, "--bind", f"/dev/{name}")


def _container(jail: Path) -> None:
    """A root as umoci unpacks it for a container: what the engine would mount is there, and empty."""
    learned = jail.parent / "learned"
    words = ("/bin/sh", "-c", "ls / >/tmp/x; id -un root; cat /etc/hosts")
    assert tracejail("learn", "-q", "-j", learned, "-m", jail.parent / "m.json", *words, cwd=Path("/")).status == 0
    image = jail.parent / "image"
    assert tracejail("export", "oci", jail.parent / "m.json", "-o", image).status == 0
    layout = image
    if image.is_file():
        layout = jail.parent / "layout"
        layout.mkdir()
        run("tar", "-xf", image, "-C", layout)
    tag = next(iter(run("umoci", "ls", "--layout", layout).split()))
    run("umoci", "unpack", "--image", f"{layout}:{tag}", jail.parent / "bundle")
    jail.rmdir()
    (jail.parent / "bundle/rootfs").rename(jail)
    shutil.rmtree(jail / "dev", ignore_errors=True)
    skeleton(jail)
    for name in ("hostname", "hosts", "resolv.conf"):
        (jail / "etc" / name).unlink(missing_ok=True)
        (jail / "etc" / name).touch()
    (jail / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (jail / ".dockerenv").touch()


def _busybox(jail: Path) -> None:
    """One static program, and a link for each of its applets, as initramfs-tools and Alpine have it."""
    skeleton(jail)
    for name in ("bin", "sbin", "usr/bin", "usr/sbin"):
        (jail / name).mkdir(exist_ok=True)
    shutil.copy("/bin/busybox", jail / "bin/busybox")
    for path in run("/bin/busybox", "--list-full").split():
        place = jail / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to("/bin/busybox")
    (jail / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (jail / "etc/group").write_text("root:x:0:\n")
    devices(jail)


def _i386(jail: Path) -> None:
    """32-bit programs alone."""
    skeleton(jail)
    compiled(jail, "/bin/hello", _HELLO, "gcc", "-m32")
    (jail / "lib").mkdir()
    shutil.copy("/lib/ld-linux.so.2", jail / "lib/ld-linux.so.2")
    shutil.copy("/lib32/libc.so.6", jail / "lib/libc.so.6")


def _musl(jail: Path) -> None:
    """As Alpine has it: the loader is the C library, libraries have x bits, and there is no ld.so.cache."""
    _busybox(jail)
    (jail / "lib").mkdir()
    shutil.copy(f"/lib/{_TRIPLE.replace('gnu', 'musl')}/libc.so", jail / "lib/ld-musl-x86_64.so.1")
    (jail / "lib/libc.musl-x86_64.so.1").symlink_to("ld-musl-x86_64.so.1")
    compiled(jail, "/usr/lib/libword.so.1", _WORD, "musl-gcc", "-shared", "-fPIC", "-Wl,-soname,libword.so.1")
    compiled(jail, "/usr/bin/hello", _ZLIB, "musl-gcc", jail / "usr/lib/libword.so.1")
    compiled(jail, "/usr/lib/private/libplugin.so", _WORD, "musl-gcc", "-shared", "-fPIC", jail / "usr/lib/libword.so.1")


def _by_hand(jail: Path) -> None:
    by_ldd(jail, "/bin/ls", "/bin/bash")


def _makejail(jail: Path) -> None:
    """Whole packages of a program and of what it depends on, no more: no cache, no devices."""
    for name in ("bin", "lib", "lib64"):
        (jail / "usr" / name).mkdir(parents=True)
        (jail / name).symlink_to(f"usr/{name}")
    packages(jail, "gawk", "libc6", "libgmp10", "libmpfr6", "libreadline8", "libsigsegv2", "libtinfo6", "readline-common")


def _root_directory(jail: Path) -> None:
    """RootDirectory= with MountAPIVFS=, PrivateTmp=, BindReadOnlyPaths=; names are resolved by systemd-resolved outside."""
    debootstrap(jail)
    (jail / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (jail / "etc/machine-id").touch()
    mount(jail / "proc", "-t", "proc", "-o", "nosuid,nodev,noexec", "proc")
    mount(jail / "tmp", "-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "tmpfs")
    mount(jail / "usr", "--bind", jail / "usr")
    mount(jail / "usr", "-o", "remount,bind,ro")


def _absolute_links(jail: Path) -> None:
    """As some container tools merge /usr: links that lead to the same place by an absolute path."""
    for name in ("bin", "lib", "lib64"):
        (jail / "usr" / name).mkdir(parents=True)
        (jail / name).symlink_to(f"/usr/{name}")
    for path in ("/bin/ls", "/bin/bash"):
        for real in (path, *(word for word in run("ldd", path).split() if word.startswith("/"))):
            place = jail / os.path.realpath(real).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(real, place)
            if os.path.basename(real) != place.name:
                (place.parent / os.path.basename(real)).symlink_to(place.name)
    (jail / "usr/lib64/ld-linux-x86-64.so.2").unlink(missing_ok=True)
    shutil.copy("/lib64/ld-linux-x86-64.so.2", jail / "usr/lib64/ld-linux-x86-64.so.2")


def _other_places(jail: Path) -> None:
    """Libraries in a directory that the cache alone leads to, and a library that others load: it has an x bit."""
    by_ldd(jail, "/bin/ls")
    (jail / "opt/lib").mkdir(parents=True)
    for place in (jail / "lib" / _TRIPLE).iterdir():
        place.rename(jail / "opt/lib" / place.name)
    (jail / "etc").mkdir()
    (jail / "etc/ld.so.conf").write_text("/opt/lib\n")
    compiled(jail, "/opt/private/libword.so.1", _WORD, "gcc", "-shared", "-fPIC", "-Wl,-soname,libword.so.1")
    compiled(jail, "/opt/private/libplugin.so", _ZLIB, "gcc", "-shared", "-fPIC", jail / "opt/private/libword.so.1")
    run("ldconfig", "-r", jail)


def _store(jail: Path, search: str = "/store/def-hello/lib") -> None:
    """As Nix and Guix have it: a loader and a search path of the program's own."""
    own = jail / "store/abc-glibc/lib"
    own.mkdir(parents=True)
    shutil.copy("/lib64/ld-linux-x86-64.so.2", own / "ld.so")
    shutil.copy(f"/lib/{_TRIPLE}/libc.so.6", own / "libc.so.6")
    compiled(jail, "/store/def-hello/lib/libword.so", _WORD, "gcc", "-shared", "-fPIC", "-Wl,-soname,libword.so")
    compiled(
        jail, "/store/def-hello/bin/hello", _ZLIB, "gcc", jail / "store/def-hello/lib/libword.so",
        "-Wl,--dynamic-linker=/store/abc-glibc/lib/ld.so", f"-Wl,-rpath,{search}:/store/abc-glibc/lib",
    )


def _klibc(jail: Path) -> None:
    """The programs of an initramfs, by the third C library of this machine."""
    for path in package_files("klibc-utils", "libklibc"):
        real = os.path.realpath(path)
        if os.path.isfile(real) and ("klibc/bin/" in path or path.endswith(".so")):
            place = jail / path.removeprefix("/usr").lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(real, place)


@dataclass(frozen=True)
class Jail:
    """How it is made, and what runs in it; `says` is in what that prints."""

    name: str
    build: Callable[[Path], None]
    command: tuple[str, ...]
    says: str
    lacks: tuple[str, ...] | None = ()   # what scripts that are in it beside its program are truly without; None: whatever


_SHELL = "ls / && id -un && echo hi > /tmp/x && cat /tmp/x"
JAILS = (
    Jail("jailkit", _jailkit, ("/bin/bash", "-c", "ls /; id; perl -e 'print 7'"), "uid=0"),
    Jail("debootstrap", debootstrap, ("/bin/bash", "-c", f"{_SHELL}; awk 'BEGIN {{ print 7 }}'; tar cf /tmp/a /etc"), "root"),
    Jail("bubblewrap", _bubblewrap, ("/bin/sh", "-c", f"{_SHELL} >/dev/null; echo hi"), "hi", lacks=None),
    Jail("a container's root", _container, ("/bin/sh", "-c", "ls /; cat /etc/hosts; id -un root"), "root"),
    Jail("busybox", _busybox, ("/bin/sh", "-c", "ls / | wc -l; id -un; date >/dev/null; echo hi"), "hi"),
    Jail("i386", _i386, ("/bin/hello",), "hello"),
    Jail("musl", _musl, ("/usr/bin/hello",), "hello"),
    Jail("by hand", _by_hand, ("/bin/ls", "/"), "bin"),
    Jail("makejail", _makejail, ("/usr/bin/gawk", "BEGIN { print 7 }"), "7", lacks=("/bin/sh",)),
    Jail("RootDirectory", _root_directory, ("/bin/sh", "-c", f"{_SHELL}; grep -c . /proc/self/status"), "root"),
    Jail("absolute links", _absolute_links, ("/bin/bash", "-c", "ls /; echo hi"), "hi"),
    Jail("other places", _other_places, ("/bin/ls", "/"), "opt"),
    Jail("store", _store, ("/store/def-hello/bin/hello",), "hello"),
    Jail("klibc", _klibc, ("/lib/klibc/bin/sh", "-c", "echo hi"), "hi"),
)


def _said(jail: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = tracejail("doctor", "-j", jail, "--json", *words, cwd=Path("/"), env={"LC_ALL": "C", "HOME": "/"})
    assert "Traceback" not in done.err
    assert len(done.out) + len(done.err) < 65536
    return done.status, done.json


def _causes(said: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (each["confidence"], each["path"], each["message"]) for each in said["findings"]
        if each["confidence"] != "possible" or not each["quiet"]
    ]


@pytest.mark.parametrize("row", JAILS, ids=lambda row: row.name)
def test_a_healthy_one(row: Jail) -> None:
    with empty_jail() as jail:
        row.build(jail)
        # The processes of now are none of the tree that is to stay as it is, nor is what is the host's own.
        bound = os.path.ismount(jail / "usr/lib" / _TRIPLE)
        outside = {"proc", *(name for name in os.listdir(jail) if (jail / name).is_symlink()), *(["usr"] if bound else [])}
        shown = [name for name in sorted(os.listdir(jail)) if name not in outside]
        before = [digest(jail / name) for name in shown]
        seen = by_chroot(jail, row.command)
        assert row.says in seen.out, (seen.out, seen.err)
        for words in (row.command, ("--static", *row.command)):
            status, said = _said(jail, *words)
            assert _causes(said) == [], words
            assert status == 0
        status, said = _said(jail, "--static")
        if row.lacks is None:
            causes = [each for each in said["findings"] if each["confidence"] != "possible" or not each["quiet"]]
            assert all(each["rule"] == "script-interpreter" for each in causes), causes
            assert not any(os.path.lexists(f"{jail}{path}") for _, path, _ in _causes(said))
        else:
            assert [path for _, path, _ in _causes(said)] == [*row.lacks], said["findings"]
            assert status == bool(row.lacks)
        subprocess.run(["sh", "-c", "rm -f $0/tmp/x $0/tmp/a", jail], check=True)
        assert [digest(jail / name) for name in shown if name != "tmp"] == [
            each for name, each in zip(shown, before, strict=True) if name != "tmp"
        ]


def _without(build: Callable[[Path], None], *gone: str) -> Callable[[Path], None]:
    def built(jail: Path) -> None:
        build(jail)
        for path in gone:
            (jail / path.lstrip("/")).unlink()

    return built


BROKEN = (
    Case("debootstrap without a library", _without(debootstrap, f"/usr/lib/{_TRIPLE}/libselinux.so.1"), ("/bin/ls", "/"),
         f"/lib/{_TRIPLE}/libselinux.so.1", rule="library"),
    Case("debootstrap without a library of a library",
         _without(debootstrap, f"/usr/lib/{_TRIPLE}/libpcre2-8.so.0"), ("/bin/ls", "/"),
         f"/lib/{_TRIPLE}/libpcre2-8.so.0", rule="library"),
    Case("debootstrap without /lib64", _without(debootstrap, "/lib64"), ("/bin/ls", "/"), "/lib64", rule="loader-link"),
    Case("debootstrap without dash", _without(debootstrap, "/usr/bin/dash"), ("/usr/bin/which", "ls"), "/usr/bin/dash"),
    Case("debootstrap without an alternative", _without(debootstrap, "/etc/alternatives/awk"), ("/usr/bin/awk", "BEGIN {}"),
         "/etc/alternatives/awk", rule="dangling-link"),
    Case("i386 without its loader", _without(_i386, "/lib/ld-linux.so.2"), ("/bin/hello",), "/lib/ld-linux.so.2", rule="loader"),
    Case("i386 without its C library", _without(_i386, "/lib/libc.so.6"), ("/bin/hello",), "/lib32/libc.so.6", rule="library"),
    Case("musl without its loader", _without(_musl, "/lib/ld-musl-x86_64.so.1"), ("/usr/bin/hello",), "/lib/ld-musl-x86_64.so.1"),
    Case("musl without a library", _without(_musl, "/usr/lib/libword.so.1"), ("/usr/bin/hello",), "libword.so.1", rule="library"),
    Case("store without its loader", _without(_store, "/store/abc-glibc/lib/ld.so"), ("/store/def-hello/bin/hello",),
         "/store/abc-glibc/lib/ld.so", rule="loader"),
    Case("store by $ORIGIN without /proc", lambda jail: _store(jail, "$ORIGIN/../lib"), ("/store/def-hello/bin/hello",), "/proc",
         rule="origin"),
    Case("busybox with a link too many", _without(_busybox, "/bin/busybox"), ("/bin/ls", "/"), "/bin/busybox",
         rule="dangling-link"),
    Case("jailkit without its shell", _without(_jailkit, "/bin/bash"), ("/bin/bash", "-c", "ls"), "/bin/bash", rule="program"),
)


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_piece_is_taken_away(case: Case) -> None:
    with empty_jail() as jail:
        case.build(jail)
        assert by_chroot(jail, case.command).status != 0
        by_files = [("--static", *case.command), ("--static",)] if case.path != "/proc" else []
        for words in (case.command, *by_files[:1]):
            status, said = _said(jail, *words)
            first = said["findings"][0]
            assert first["path"] == case.path, [(words, each["rule"], each["path"]) for each in said["findings"]]
            assert not case.rule or first["rule"] == case.rule
            assert status == 1
        for words in by_files[1:]:
            status, said = _said(jail, *words)
            asked = case.rule != "program"   # by the other files of the jail
            assert (status == 1) == asked
            assert not asked or case.path in [each["path"] for each in said["findings"]]
