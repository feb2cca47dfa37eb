"""The static closure in made-up roots: what ld.so(8), musl's loader and the kernel would look for."""

from __future__ import annotations

from pathlib import Path

import pytest
from elves import I386, elf

from tracejail.deps import deps
from tracejail.resolve.closure import Dependency
from tracejail.resolve.loader import CacheLibrary, write_cache

LOADER = "/lib64/ld-linux-x86-64.so.2"
MUSL = "/lib/ld-musl-x86_64.so.1"


@pytest.fixture()
def root(tmp_path: Path) -> Path:
    put(tmp_path, LOADER, elf(soname="ld-linux-x86-64.so.2"))
    return tmp_path


def put(root: Path, path: str, data: bytes) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def link(root: Path, path: str, target: str) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def rows(root: Path, *paths: str) -> dict[str, Dependency]:
    return {row.path: row for row in deps(str(root), list(paths))}


def found(root: Path, *paths: str) -> set[str]:
    listed = rows(root, *paths)
    assert all(row.found for row in listed.values()), listed
    return set(listed)


def test_libraries_of_libraries(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("liba.so.1",)))
    put(root, "/usr/lib/liba.so.1.2", elf(soname="liba.so.1", needed=("libb.so", "ld-linux-x86-64.so.2")))
    link(root, "/usr/lib/liba.so.1", "liba.so.1.2")
    put(root, "/lib/libb.so", elf(soname="libb.so"))
    listed = rows(root, "/bin/p")
    assert [(row.path, row.how, row.needed_by) for row in listed.values()] == [
        ("/bin/p", "program", ""),
        (LOADER, "elf-interpreter", "/bin/p"),
        ("/usr/lib/liba.so.1", "symlink", "/bin/p"),
        ("/usr/lib/liba.so.1.2", "elf-needed", "/bin/p"),
        ("/lib/libb.so", "elf-needed", "/usr/lib/liba.so.1.2"),
    ]


def test_what_is_not_there_is_said(root: Path) -> None:
    put(root, "/bin/p", elf("/lib/no-loader", needed=("libgone.so",), runpath="$ORIGIN/../own"))
    listed = rows(root, "/bin/p", "/bin/nothing")
    assert not listed["/bin/nothing"].found and not listed["/lib/no-loader"].found
    gone = listed["libgone.so"]
    assert not gone.found and gone.searched[0] == "/bin/../own/libgone.so" and "/usr/lib/libgone.so" in gone.searched


def test_other_classes_are_passed_over(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("liba.so",), runpath="/first:/second"))
    put(root, "/first/liba.so", elf(machine=I386, bits=32))
    put(root, "/second/liba.so", elf())
    put(root, "/lib/liba.so", b"/* GNU ld script */ INPUT(nothing)")
    assert "/second/liba.so" in found(root, "/bin/p") and "/first/liba.so" not in found(root, "/bin/p")


def test_rpath_is_inherited_and_runpath_is_not(root: Path) -> None:
    put(root, "/own/liba.so", elf(needed=("libb.so",)))
    put(root, "/own/libb.so", elf())
    put(root, "/bin/rpath", elf(LOADER, needed=("liba.so",), rpath="/own"))
    put(root, "/bin/runpath", elf(LOADER, needed=("liba.so",), runpath="/own"))
    assert "/own/libb.so" in found(root, "/bin/rpath")
    assert not rows(root, "/bin/runpath")["libb.so"].found


def test_a_file_with_runpath_ignores_the_rpath_above(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("liba.so",), rpath="/own"))
    put(root, "/own/liba.so", elf(needed=("libb.so",), runpath="/elsewhere"))
    put(root, "/own/libb.so", elf())
    put(root, "/lib/libb.so", elf())
    assert "/lib/libb.so" in found(root, "/bin/p") and "/own/libb.so" not in found(root, "/bin/p")


def test_a_name_that_is_loaded_is_not_looked_for_again(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("liba.so", "libb-2.so"), runpath="/own"))
    put(root, "/own/liba.so", elf(needed=("libb-2.so", "libb.so")))
    put(root, "/own/libb-2.so", elf(soname="libb.so"))
    assert found(root, "/bin/p") == {"/bin/p", LOADER, "/own/liba.so", "/own/libb-2.so"}


def test_what_one_program_has_loaded_does_not_help_another(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("libb.so",), runpath="/own"))
    put(root, "/bin/q", elf(LOADER, needed=("libb.so",)))
    put(root, "/own/libb.so", elf())
    assert not rows(root, "/bin/p", "/bin/q")["libb.so"].found


def test_origin_is_where_a_library_was_loaded_from(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("liba.so",), runpath="/links"))
    link(root, "/links/liba.so", "/store/liba.so")
    put(root, "/store/liba.so", elf(needed=("libb.so",), runpath="${ORIGIN}"))
    put(root, "/links/libb.so", elf())
    assert "/links/libb.so" in found(root, "/bin/p")


def test_parent_of_a_linked_directory(root: Path) -> None:
    put(root, "/usr/deep/bin/p", elf(LOADER, needed=("liba.so",), runpath="/short/../own"))
    link(root, "/short", "/usr/deep/bin")
    put(root, "/usr/deep/own/liba.so", elf())
    put(root, "/own/liba.so", elf())
    assert "/usr/deep/own/liba.so" in found(root, "/usr/deep/bin/p")


def test_cache_of_that_root(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("libodd.so.1",)))
    put(root, "/odd/libodd.so.1", elf())
    put(root, "/odd/new/libodd.so.1", elf())
    libraries = [CacheLibrary("libodd.so.1", f"/{place}/libodd.so.1", 0x303) for place in ("gone", "odd")]
    put(root, "/etc/ld.so.cache", write_cache(libraries))
    assert "/odd/libodd.so.1" in found(root, "/bin/p")


def test_the_hosts_own_libraries_are_never_taken(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("libc.so.6",)))
    link(root, "/lib/libc.so.6", "../../../../../../../lib/x86_64-linux-gnu/libc.so.6")
    assert not rows(root, "/bin/p")["libc.so.6"].found


@pytest.mark.parametrize(
    ("path_file", "directory"), [(b"/own:/more\n", "/more"), (b"/own\n/more", "/more"), (b"", "/usr/local/lib")]
)
def test_musl(root: Path, path_file: bytes, directory: str) -> None:
    put(root, MUSL, elf(soname="libc.musl-x86_64.so.1"))
    put(root, "/bin/p", elf(MUSL, needed=("libc.musl-x86_64.so.1", "libm.so", "libz.so.1")))
    put(root, "/etc/ld-musl-x86_64.path", path_file)
    put(root, directory + "/libz.so.1", elf())
    put(root, "/odd/libz.so.1", elf())
    put(root, "/etc/ld.so.cache", write_cache([CacheLibrary("libz.so.1", "/odd/libz.so.1", 0x303)]))
    assert found(root, "/bin/p") == {"/bin/p", MUSL, directory + "/libz.so.1"}


def test_musl_inherits_runpath(root: Path) -> None:
    put(root, MUSL, elf())
    put(root, "/bin/p", elf(MUSL, needed=("liba.so",), runpath="/own"))
    put(root, "/own/liba.so", elf(needed=("libb.so",)))
    put(root, "/own/libb.so", elf())
    assert "/own/libb.so" in found(root, "/bin/p")


def test_scripts(root: Path) -> None:
    put(root, "/srv/outer", b"#! /srv/inner -x\n")
    put(root, "/srv/inner", b"#!/usr/bin/env -S V=1 python3 -u\n")
    put(root, "/usr/bin/env", elf(LOADER))
    link(root, "/usr/bin/python3", "python3.11")
    put(root, "/usr/bin/python3.11", elf(LOADER, needed=("libz.so",)))
    put(root, "/lib/libz.so", elf())
    listed = rows(root, "/srv/outer")
    assert listed["/srv/inner"].how == "script-interpreter" and listed["/usr/bin/python3.11"].needed_by == "/srv/inner"
    assert {"/usr/bin/env", "/usr/bin/python3", "/lib/libz.so", LOADER} <= found(root, "/srv/outer")


def test_script_without_its_interpreter(root: Path) -> None:
    put(root, "/srv/a", b"#!/bin/gone\r\n")
    put(root, "/srv/b", b"#!/usr/bin/env gone\n")
    put(root, "/usr/bin/env", elf(LOADER))
    listed = rows(root, "/srv/a", "/srv/b")
    assert not listed["/bin/gone\r"].found
    assert not listed["gone"].found and "/usr/bin/gone" in listed["gone"].searched


def test_loops_end(root: Path) -> None:
    put(root, "/srv/self", b"#!/srv/self\n")
    put(root, "/bin/p", elf(LOADER, needed=("liba.so",)))
    put(root, "/lib/liba.so", elf(needed=("libb.so",)))
    put(root, "/lib/libb.so", elf(needed=("liba.so",)))
    link(root, "/lib/libloop.so", "libloop.so")
    assert found(root, "/srv/self", "/bin/p") == {"/srv/self", "/bin/p", LOADER, "/lib/liba.so", "/lib/libb.so"}


def test_rpath_beside_runpath_counts_for_nothing(root: Path) -> None:
    put(root, "/bin/p", elf(LOADER, needed=("liba.so",), rpath="/old", runpath="/own"))
    put(root, "/own/liba.so", elf(needed=("libb.so",)))
    put(root, "/old/liba.so", elf())
    put(root, "/old/libb.so", elf())
    listed = rows(root, "/bin/p")
    assert "/own/liba.so" in listed and not listed["libb.so"].found
