"""A real loader in a real chroot finds a library in an unusual directory through a cache that the project made."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tracejail.resolve.loader import CacheLibrary, read_cache, reduce_cache, write_cache

_FLAGS = 0x0303


def _jail(root: Path) -> None:
    """A chroot of a program that needs /opt/unusual/libodd.so.1, of libc, and of the loader."""
    (root / "opt/unusual").mkdir(parents=True)
    (root / "etc").mkdir()
    source = root.parent / "odd.c"
    source.write_text("int odd(void) { return 42; }\n")
    library = root / "opt/unusual/libodd.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-soname,libodd.so.1", "-o", library, source], check=True)
    source.write_text("int odd(void); int main(void) { return odd(); }\n")
    subprocess.run(["gcc", "-o", root / "program", source, library], check=True)
    listed = subprocess.run(["ldd", root / "program"], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S*(?:libc\.so|ld-linux)\S*) \(", listed):
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.lstrip("/"))


def _run(root: Path) -> int:
    return subprocess.run(["chroot", root, "/program"], capture_output=True).returncode


def test_library_is_found_through_the_cache(tmp_path: Path) -> None:
    root = tmp_path / "jail"
    _jail(root)
    assert _run(root) == 127
    cache = root / "etc/ld.so.cache"
    host = read_cache(Path("/etc/ld.so.cache").read_bytes())
    full = write_cache([*host, CacheLibrary("libodd.so.1", "/opt/unusual/libodd.so.1", _FLAGS)])
    cache.write_bytes(full)
    assert _run(root) == 42
    cache.write_bytes(reduce_cache(full, lambda path: (root / path.lstrip("/")).exists()))
    assert len(read_cache(cache.read_bytes())) < len(host)
    assert _run(root) == 42
    cache.write_bytes(reduce_cache(full, lambda path: "unusual" not in path))
    assert _run(root) == 127
