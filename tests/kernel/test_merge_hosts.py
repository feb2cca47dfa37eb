"""Two hosts with different versions of a library: learned on each, merged, and built for each again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.tool import tracejail, two_lines

_FOO = "int foo(void) { return %d; }"
_ACCOUNTS = "root:x:0:0::/root:/bin/sh\nnobody-asks:x:7:7::/:/bin/sh\n"
_MAIN = """
#include <stdio.h>
int foo(void);
int main(int count, char **words)
{
    printf("foo %d\\n", foo());
    for (int at = 1; at < count; at++) {
        char text[100] = "";
        FILE *file = fopen(words[at], "r");
        if (file && fgets(text, sizeof text, file))
            fputs(text, stdout);
    }
    return 0;
}
"""


def make_host(root: Path, version: int, own: dict[str, str]) -> None:
    """A host root with libfoo.so.1.VERSION; a text that begins with "->" is the target of a link."""
    for path in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"):
        target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(path).read_bytes())
        target.chmod(0o755)
    libraries = root / "usr/lib/app"
    libraries.mkdir(parents=True)
    (root / "foo.c").write_text(_FOO % version)
    (root / "main.c").write_text(_MAIN)
    library = libraries / f"libfoo.so.1.{version}"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-soname,libfoo.so.1", "-o", library, root / "foo.c"], check=True)
    (libraries / "libfoo.so.1").symlink_to(library.name)
    subprocess.run(["gcc", "-o", root / "main", root / "main.c", library, "-Wl,-rpath,/usr/lib/app"], check=True)
    common = {"etc/os-release": f'PRETTY_NAME="Host {version}"\n', "etc/passwd": _ACCOUNTS}
    for path, text in (common | own).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            (root / path).symlink_to(text[2:])
        else:
            (root / path).write_text(text)


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the hosts old and new, and all.json, merged from what was learned on each."""
    place = tmp_path_factory.mktemp("hosts")
    place.chmod(0o755)
    make_host(place / "old-root", 2, {"etc/app/more": "->more.d/one", "etc/app/more.d/one": "more of the old one\n"})
    make_host(place / "new-root", 3, {"etc/app/more": "more of the new one\n", "etc/app/new-only": "only there\n"})
    for name, words in (("old", []), ("new", ["/etc/app/more", "/etc/app/new-only"])):
        jail = place / f"{name}.jail"
        done = tracejail("learn", "--from", place / f"{name}-root", "-j", jail, "-m", place / f"{name}.json", "/main",
                         "/etc/passwd", *words)
        assert done.status == 0, done.err + done.out
    done = tracejail("merge", place / "old.json", place / "new.json", "-o", place / "all.json")
    assert (done.status, done.err) == (0, "kept apart by host: old, new\n")
    return place


def tree(jail: Path) -> set[str]:
    return {str(path.relative_to(jail)) for path in jail.rglob("*")}


def run(jail: Path, *words: str) -> str:
    return subprocess.run(["chroot", jail, "/main", *words], capture_output=True, text=True, check=True).stdout


def test_each_host_gets_its_own_files(merged: Path, tmp_path: Path) -> None:
    done = tracejail("build", merged / "all.json", "-j", tmp_path / "new", "--host", "new")
    assert done.status == 0 and done.err == "", done.err
    assert {path for path in tree(tmp_path / "new") if "foo" in path} == {
        "usr/lib/app/libfoo.so.1", "usr/lib/app/libfoo.so.1.3",
    }
    assert run(tmp_path / "new", "/etc/app/more", "/etc/app/new-only") == "foo 3\nmore of the new one\nonly there\n"
    # The first host is the default; what only the other run asked for is there as this host has it, or left out.
    done = tracejail("build", merged / "all.json", "-j", tmp_path / "old")
    assert done.status == 0, done.err
    assert done.err == "note: what only new had and this host has not is left out: /etc/app/new-only\n"
    assert {path for path in tree(tmp_path / "old") if "foo" in path or "app/" in path} == {
        "usr/lib/app/libfoo.so.1", "usr/lib/app/libfoo.so.1.2", "etc/app/more", "etc/app/more.d", "etc/app/more.d/one",
    }
    assert os.readlink(tmp_path / "old/etc/app/more") == "more.d/one"
    assert run(tmp_path / "old", "/etc/app/more") == "foo 2\nmore of the old one\n"


def test_export_of_each_host(merged: Path, tmp_path: Path) -> None:
    assert tracejail("build", merged / "all.json", "-j", tmp_path / "old").status == 0
    for source in (["--from", merged / "old-root"], ["-j", tmp_path / "old"]):
        done = tracejail("export", "tar", merged / "all.json", *source, "-o", tmp_path / "old.tar")
        assert done.status == 0 and "/etc/app/new-only" in done.err, done.err
        (tmp_path / "out").mkdir()
        subprocess.run(["tar", "-xpf", tmp_path / "old.tar", "-C", tmp_path / "out"], check=True)
        assert tree(tmp_path / "out") == tree(tmp_path / "old")
        assert subprocess.run(["diff", "-r", "--no-dereference", tmp_path / "out/etc", tmp_path / "old/etc"]).returncode == 0
        subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)
    assert (tmp_path / "old/etc/passwd").read_text() == _ACCOUNTS.splitlines(keepends=True)[0]
    # Without its host the list has what the others had too.
    listed = tracejail("list", merged / "all.json").out.splitlines()
    assert "/etc/app/new-only" in listed and "/usr/lib/app/libfoo.so.1.3" not in listed


def test_verify_of_each_host(merged: Path) -> None:
    for label in ("old", "new"):
        done = tracejail("verify", "--host", label, merged / "all.json")
        assert done.status == 0, done.out + done.err
    # Its own jail is of before the merge; a fresh copy is of what was merged.
    done = tracejail("verify", "--host", "old", merged / "all.json", "--json", "-j", merged / "old.jail")
    assert done.json["clean"] and done.json["manifest"] == str(merged / "all.json")


def test_the_wrong_host(merged: Path, tmp_path: Path) -> None:
    done = tracejail("build", merged / "all.json", "--from", merged / "new-root", "-j", tmp_path / "jail")
    assert done.status == 5 and "--host takes old, new" in done.err
    two_lines(done)
    assert not (tmp_path / "jail").exists()


def test_nothing_is_added_to_a_merged_one(merged: Path) -> None:
    before = (merged / "all.json").read_bytes()
    done = tracejail(
        "learn", "--append", "--from", merged / "old-root", "-j", merged / "none.jail", "-m", merged / "all.json", "/main"
    )
    assert done.status == 2 and "old, new" in done.err
    two_lines(done)
    assert (merged / "all.json").read_bytes() == before
