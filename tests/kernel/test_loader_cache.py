"""ld.so.cache as written here, judged by ldconfig and by the loader itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.tool import tracejail


def build_library(place: Path) -> Path:
    """A program with a library that only the cache of a tree knows."""
    (place / "odd" / "lib").mkdir(parents=True)
    (place / "foo.c").write_text("int foo(void) { return 7; }")
    (place / "main.c").write_text("int foo(void); int main(void) { return foo() == 7 ? 0 : 1; }")
    library = place / "odd/lib/libtracejailfoo.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wl,-soname,libtracejailfoo.so.1", "-o", library, place / "foo.c"], check=True
    )
    subprocess.run(["gcc", "-o", place / "main", place / "main.c", library], check=True)
    return library


def test_a_library_that_only_the_cache_knows(tmp_path: Path) -> None:
    library = build_library(tmp_path)
    root = tmp_path / "root"
    # A host of its own, with a cache of its own: the machine's is not touched.
    for path in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"):
        target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(path).read_bytes())
        target.chmod(0o755)
    (root / "odd/lib").mkdir(parents=True)
    (root / "odd/lib" / library.name).write_bytes(library.read_bytes())
    (root / "main").write_bytes((tmp_path / "main").read_bytes())
    (root / "main").chmod(0o755)
    (root / "etc").mkdir()
    (root / "etc/ld.so.conf").write_text("/odd/lib\n")
    subprocess.run(["/sbin/ldconfig", "-r", root], check=True)
    done = tracejail("learn", "--json", "--from", root, "-j", tmp_path / "jail", "/main")
    assert done.json["clean"], done.out
    assert (tmp_path / "jail/odd/lib" / library.name).exists()
    assert subprocess.run(["chroot", tmp_path / "jail", "/main"], check=False).returncode == 0
    cache = tmp_path / "jail/etc/ld.so.cache"
    listed = subprocess.run(["/sbin/ldconfig", "-p", "-C", cache], capture_output=True, text=True, check=True).stdout
    assert f"{library.name} (libc6,x86-64) => /odd/lib/{library.name}" in listed
    # Without the cache the loader does not find it: the cache is what does it.
    cache.unlink()
    assert subprocess.run(["chroot", tmp_path / "jail", "/main"], check=False, capture_output=True).returncode == 127


def test_deps_of_the_same_tree(tmp_path: Path) -> None:
    build_library(tmp_path)
    done = tracejail("deps", tmp_path / "main")
    assert done.status == 1
    assert "libtracejailfoo.so.1    elf-needed" in done.out and "NOT FOUND" in done.out
    assert "/usr/lib/x86_64-linux-gnu/libc.so.6    elf-needed" in done.out
