"""Lists and archives: what comes back is what went in, byte for byte, whatever the names; or the format refuses with a reason.

The archives are read back here by other code than wrote them: tarfile's reader, and readers of these few lines.
"""

from __future__ import annotations

import io
import os
import tarfile

import hostile
import pytest
from hostile import EXAMPLES, made
from hypothesis import given
from nouns import directory, entry, manifest

from tracejail.errors import ExportError
from tracejail.model import EntryType, Manifest

# --- lists ----------------------------------------------------------------------------------------------------------


def test_lists_have_parents_first() -> None:
    # "-" sorts before "/": by plain text, /a-b would come between /a and what is in it.
    odd = manifest(directory("/a"), entry("/a-b"), entry("/a/z"))
    assert made("list", odd) == b"/a\n/a/z\n/a-b\n"
    assert made("list0", odd) == b"/a\0/a/z\0/a-b\0"
    assert made("rsync", odd) == b"./a\0./a/z\0./a-b\0"


def test_a_newline_only_in_the_nul_list() -> None:
    odd = manifest(entry("/a\nb"), entry("/\udcff"))
    with pytest.raises(ExportError) as caught:
        made("list", odd)
    assert "list0" in caught.value.hint and "\n" not in caught.value.message
    assert made("list0", odd) == b"/a\nb\0/\xff\0"


@EXAMPLES
@given(hostile.manifests(xattrs=True))
def test_lists_come_back(jail: Manifest) -> None:
    for name, ends, begins in (("list0", b"\0", b"/"), ("rsync", b"\0", b"./"), ("list", b"\n", b"/")):
        try:
            text = made(name, jail)
        except ExportError as refused:
            assert name == "list" and any("\n" in path and repr(path) in refused.message for path in hostile.paths(jail))
            continue
        back = [os.fsdecode(word).removeprefix(begins.decode()) for word in text.split(ends)[:-1]]
        assert sorted(back) == sorted(path[1:] for path in hostile.paths(jail))
        seen: set[str] = {""}
        for path in back:
            assert path.rpartition("/")[0] in seen
            seen.add(path)


# --- archives -------------------------------------------------------------------------------------------------------

_TAR_TYPES = {
    tarfile.DIRTYPE: EntryType.DIRECTORY, tarfile.SYMTYPE: EntryType.SYMLINK, tarfile.REGTYPE: EntryType.FILE,
    tarfile.LNKTYPE: EntryType.FILE, tarfile.CHRTYPE: EntryType.CHARACTER,
}


@EXAMPLES
@given(hostile.manifests(xattrs=True))
def test_tar_comes_back(jail: Manifest) -> None:
    data = made("tar", jail)
    assert data == made("tar", jail) and len(data) % 512 == 0
    known = {one.path[1:]: one for one in jail.entries}
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        seen: dict[str, tarfile.TarInfo] = {}
        for member in archive:
            one = known[member.name]
            assert _TAR_TYPES[member.type] is one.type
            assert (member.mode, member.uid, member.gid) == (one.mode, one.uid, one.gid)
            assert member.linkname == (one.hard_link[1:] or one.target)
            if one.device:
                assert (member.devmajor, member.devminor) == one.device
            if member.type == tarfile.REGTYPE:
                stream = archive.extractfile(member)
                assert stream is not None and stream.read() == hostile.bytes_of(one.path)
                assert member.pax_headers["mtime"] == "1700000000.123456789"
            if member.type == tarfile.LNKTYPE:
                assert member.linkname in seen
            for name, value in one.xattrs:
                text = member.pax_headers[f"SCHILY.xattr.{name}"]
                assert text.encode("utf-8", "surrogateescape") == bytes.fromhex(value)
            above = member.name.rpartition("/")[0]
            assert not above or above in seen
            seen[member.name] = member
    assert seen.keys() == known.keys()


def _read_cpio(data: bytes) -> list[tuple[str, list[int], bytes]]:
    found, at = [], 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        size, name_size = numbers[6], numbers[11]
        name = os.fsdecode(data[at + 110 : at + 110 + name_size - 1])
        assert data[at + 109 + name_size] == 0
        at += 110 + name_size
        at += -at % 4
        content = data[at : at + size]
        at += size
        at += -at % 4
        if name == "TRAILER!!!":
            assert at == len(data)
            return found
        found.append((name, numbers, content))


@EXAMPLES
@given(hostile.manifests(xattrs=True))
def test_cpio_comes_back_or_is_refused(jail: Manifest) -> None:
    try:
        data = made("cpio", jail)
    except ExportError as refused:
        assert any(one.xattrs and one.path in refused.message for one in jail.entries) or "TRAILER" in refused.message
        return
    assert data == made("cpio", jail)
    records = _read_cpio(data)
    known = {one.path[1:]: one for one in jail.entries}
    assert {name for name, _, _ in records} == known.keys() and len(records) == len(known)
    contents: dict[int, bytes] = {}
    for name, numbers, content in records:
        one = known[name]
        assert (numbers[1] & 0o7777, numbers[2], numbers[3]) == (one.mode, one.uid, one.gid)
        assert one.device is None or tuple(numbers[9:11]) == one.device
        if one.type is EntryType.SYMLINK:
            assert os.fsdecode(content) == one.target
        elif one.type is EntryType.FILE:
            contents[numbers[0]] = contents.get(numbers[0], b"") + content
    for name, numbers, _ in records:
        one = known[name]
        if one.type is EntryType.FILE:
            assert contents[numbers[0]] == hostile.bytes_of(one.hard_link or one.path)
            assert numbers[4] == sum(numbers[0] == other[0] for _, other, _ in records)


def test_what_cpio_refuses() -> None:
    for odd in (entry("/TRAILER!!!"), entry("/large", size=1 << 32), entry("/a", xattrs=(("user.a", "00"),))):
        with pytest.raises(ExportError) as caught:
            made("cpio", manifest(odd))
        assert odd.path in caught.value.message and caught.value.hint


@pytest.mark.parametrize("name", ["tar", "cpio"])
def test_no_archive_holds_a_socket(name: str) -> None:
    with pytest.raises(ExportError, match="/run/s: "):
        made(name, manifest(directory("/run"), entry("/run/s", type=EntryType.SOCKET, sha256="", size=0)))


def test_source_date_epoch_is_the_latest() -> None:
    jail = manifest(hostile.file("/a"), directory("/b"))
    with tarfile.open(fileobj=io.BytesIO(made("tar", jail, epoch=5))) as archive:
        assert {member.mtime for member in archive} == {5}
    assert b"time=5.000000000" in made("mtree", jail, epoch=5)


# --- mtree ----------------------------------------------------------------------------------------------------------


def _unescaped(word: bytes) -> str:
    pieces = word.split(b"\\")
    return os.fsdecode(pieces[0] + b"".join(bytes([int(piece[:3], 8)]) + piece[3:] for piece in pieces[1:]))


@EXAMPLES
@given(hostile.manifests())
def test_mtree_comes_back(jail: Manifest) -> None:
    try:
        lines = made("mtree", jail).split(b"\n")
    except ExportError as refused:
        assert any(repr(path) in refused.message and set(path) & set("*?[") for path in hostile.paths(jail))
        return
    assert lines[0] == b"#mtree" and lines[1].startswith(b". type=dir") and lines[-1] == b""
    known = {one.path: one for one in jail.entries}
    inside: list[str] = []
    depth, seen = 1, set()
    for line in lines[2:-1]:
        if line == b"..":
            depth -= 1
            inside = inside[:-1]
            continue
        assert depth > 0 and not set(line) - set(range(33, 127)) - {32}
        word, *rest = line.split(b" ")
        keys = dict(part.split(b"=", 1) for part in rest)
        path = "/" + "/".join([*inside, _unescaped(word)])
        one = known[path]
        seen.add(path)
        assert keys[b"type"].decode() == one.type.value and int(keys[b"mode"], 8) == one.mode
        assert (int(keys[b"uid"]), int(keys[b"gid"])) == (one.uid, one.gid)
        if one.type is EntryType.SYMLINK:
            assert _unescaped(keys[b"link"]) == one.target
        if one.type is EntryType.FILE:
            assert keys[b"time"] == b"1700000000.123456789" and keys[b"sha256"].decode() == one.sha256
        if one.type is EntryType.DIRECTORY:
            inside = [*inside, _unescaped(word)]
            depth += 1
    assert depth == 0 and seen == known.keys()
