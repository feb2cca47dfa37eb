"""Lists of other tools, read; and what export wrote, read back."""

from __future__ import annotations

import hostile
import pytest
from hostile import EXAMPLES, made
from hypothesis import given

from tracejail.errors import ExportError, UsageError
from tracejail.importing.formats import LIST_FORMATS
from tracejail.model import EntryType, Manifest


def read(form: str, data: bytes, section: str = "") -> tuple[str, ...]:
    return LIST_FORMATS[form].read(data, "F", section).paths


@EXAMPLES
@given(hostile.manifests())
def test_what_export_wrote(jail: Manifest) -> None:
    for form, written in (("list", "list"), ("list", "list0"), ("mtree", "mtree")):
        try:
            data = made(written, jail)
        except ExportError:
            continue
        if written == "list0" and len(jail.entries) == 0:
            continue
        listed = LIST_FORMATS[form].read(data, "F", "")
        assert sorted(listed.paths) == sorted(hostile.paths(jail))
        if form == "mtree":
            assert dict(listed.digests) == {one.path: one.sha256 for one in jail.entries if one.type is EntryType.FILE}


def test_lines() -> None:
    assert read("dpkg", b"/.\n/usr\n/usr/bin\n/usr/bin/a b\n") == ("/usr", "/usr/bin", "/usr/bin/a b")
    assert read("list", b"./a//b/\0/c\nd\0") == ("/a/b", "/c\nd")
    for odd, line in ((b"/a\nrelative\n", "line 2"), (b"/a/../b\n", "line 1"), (b"../a\n", "line 1")):
        with pytest.raises(UsageError, match=line):
            read("list", odd)


def test_mtree_as_other_tools_write_it() -> None:
    text = rb"""#mtree
# user: x
/set type=file uid=0 mode=0644
. type=dir
    a\040b size=3 \
        mode=0755
    sub type=dir
        inner sha256digest=ab
    ..
    \134n
..
./whole/path type=file sha256=0xcd
/unset all
/whole/other type=link link=x
"""
    listed = LIST_FORMATS["mtree"].read(text, "F", "")
    assert listed.paths == ("/a b", "/sub", "/sub/inner", "/\\n", "/whole/path", "/whole/other")
    assert listed.digests == (("/sub/inner", "ab"), ("/whole/path", "cd"))
    for odd in (b"a\n", b"./../a type=file\n"):
        with pytest.raises(UsageError, match="line 1"):
            LIST_FORMATS["mtree"].read(odd, "F", "")


JAILKIT = b"""[one]
paths = /usr/bin/a, b , /lib/libc*.so
users = root
includesections = two
[two]
executables = /bin/c
devices = /dev/null
groups = x
includesections = one, two
"""


def test_a_section_of_jailkit() -> None:
    listed = LIST_FORMATS["jailkit"].read(JAILKIT, "F", "one")
    assert listed.paths == ("/usr/bin/a", "b", "/lib/libc*.so", "/dev/null", "/bin/c")
    assert (listed.users, listed.groups) == (("root",), ("x",)) and listed.libraries and listed.whole and listed.patterns
    for section in ("", "three"):
        with pytest.raises(UsageError):
            LIST_FORMATS["jailkit"].read(JAILKIT, "F", section)
    with pytest.raises(UsageError):
        LIST_FORMATS["jailkit"].read(b"no section\n", "F", "")


@EXAMPLES
@given(hostile.st.binary(max_size=200))
def test_anything_is_read_or_refused(data: bytes) -> None:
    for row in LIST_FORMATS.values():
        try:
            listed = row.read(data, "F", "")
        except UsageError as error:
            assert error.message.startswith("F: ") and error.hint
            continue
        assert row is LIST_FORMATS["jailkit"] or all(path.startswith("/") for path in listed.paths)
