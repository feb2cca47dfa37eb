"""Images, and what is put into other images: read back by other code than wrote them, or refused with the name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import tarfile

import hostile
import pytest
from hostile import EXAMPLES, made
from hypothesis import given
from nouns import device, directory, entry, link, manifest

from tracejail.errors import ExportError
from tracejail.model import Accounts, Command, Content, EntryType, Manifest

# --- squashfs ---------------------------------------------------------------------------------------------------------

_WORD = re.compile(rb"((?:\\.|[^\\ ])+) ?", re.DOTALL)
_KINDS = {b"D": EntryType.DIRECTORY, b"R": EntryType.FILE, b"S": EntryType.SYMLINK, b"C": EntryType.CHARACTER}


def _take(line: bytes) -> tuple[str, bytes]:
    found = _WORD.match(line)
    assert found
    return "/" + os.fsdecode(re.sub(rb"\\(.)", rb"\1", found[1], flags=re.DOTALL)), line[found.end() :]


@EXAMPLES
@given(hostile.manifests(xattrs=True))
def test_squashfs_comes_back_or_is_refused(jail: Manifest) -> None:
    try:
        text = made("squashfs", jail)
    except ExportError as refused:
        assert any(one.path in refused.message or repr(one.path) in refused.message for one in jail.entries)
        assert refused.hint
        return
    head, _, data = text.partition(b"#\n# START OF DATA - DO NOT MODIFY\n#\n")
    known = {one.path: one for one in jail.entries}
    for line in head.split(b"\n")[1:-1]:
        assert not line.startswith(b"#")
        path, rest = _take(line)
        one = known.pop(path)
        kind, _, rest = rest.partition(b" ")
        if kind == b"L":
            assert _take(rest)[0] == one.hard_link
            continue
        assert _KINDS[kind] is one.type
        _, mode, uid, gid, *further = rest.split(b" ", 4)
        assert (int(mode, 8), int(uid), int(gid)) == (one.mode, one.uid, one.gid)
        if kind == b"S":
            assert os.fsdecode(further[0]) == one.target
        if kind == b"R":
            size, at = map(int, further[0].split())
            assert data[at : at + size] == hostile.bytes_of(one.path)
        if kind == b"C":
            assert tuple(map(int, further[0].split())) == one.device
    assert not known


# --- oci, dockerfile ----------------------------------------------------------------------------------------------------


def _members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        return {each.name: stream.read() for each in archive if (stream := archive.extractfile(each)) is not None}


def _layer_of(data: bytes) -> tuple[dict[str, object], bytes]:
    """The configuration and the layer, all digests compared on the way."""
    held = _members(data)
    assert json.loads(held["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    def blob(described: dict[str, object]) -> bytes:
        digest = str(described["digest"]).removeprefix("sha256:")
        found = held[f"blobs/sha256/{digest}"]
        assert hashlib.sha256(found).hexdigest() == digest and len(found) == described["size"]
        return found

    (named,) = json.loads(held["index.json"])["manifests"]
    image = json.loads(blob(named))
    config = json.loads(blob(image["config"]))
    (described,) = image["layers"]
    assert config["rootfs"]["diff_ids"] == [described["digest"]]
    return config, blob(described)


@EXAMPLES
@given(hostile.manifests(xattrs=True))
def test_oci_comes_back(jail: Manifest) -> None:
    data = made("oci", jail)
    assert data == made("oci", jail)
    _, layer = _layer_of(data)
    with tarfile.open(fileobj=io.BytesIO(layer), encoding="utf-8", errors="surrogateescape") as archive:
        assert sorted(archive.getnames()) == sorted(path[1:] for path in hostile.paths(jail))


def test_what_an_image_says_of_its_program() -> None:
    command = Command(("/usr/sbin/httpd", "-f", "ä b"), directory="/srv", user="www", uid=33, gid=33, stop="QUIT")
    listens = ("127.0.0.1:80", "[::]:80", "unix:/a:5")
    jail = manifest(directory("/dev"), device("/dev/null", 1, 3), command=command, listens=listens)
    config, layer = _layer_of(made("oci", jail))
    inner = config["config"]
    assert isinstance(inner, dict)
    assert inner["Entrypoint"] == ["/usr/sbin/httpd", "-f", "ä b"] and inner["StopSignal"] == "SIGQUIT"
    assert (inner["User"], inner["WorkingDir"], inner["ExposedPorts"]) == ("33:33", "/srv", {"80": {}})
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        assert archive.getnames() == ["dev"]
    lines = made("dockerfile", jail).decode().splitlines()
    assert lines[:2] == ["FROM scratch", "ADD jail.tar /"] and lines[-1].startswith("ENTRYPOINT [")
    assert json.loads(lines[-1].removeprefix("ENTRYPOINT ")) == list(command.argv)
    assert {"USER 33:33", "WORKDIR /srv", "EXPOSE 80", "STOPSIGNAL SIGQUIT"} == set(lines[2:-1])


def test_further_groups_are_looked_up_by_the_name() -> None:
    command = Command(("/a",), user="www", uid=33, gid=33, groups=(33, 44))
    config, _ = _layer_of(made("oci", manifest(command=command, accounts=Accounts(users=("www",)))))
    assert isinstance(config["config"], dict) and config["config"]["User"] == "www"


@pytest.mark.parametrize(
    ("form", "odd"),
    [
        ("oci", {"command": Command(("/a/\udcff",))}),
        ("dockerfile", {"command": Command(("/a", "\udcff"))}),
        ("dockerfile", {"command": Command(("/a",), directory="/a b")}),
        ("dockerfile", {"command": Command(("/a",), directory="/$a")}),
        ("oci", {"command": Command(("/usr/bin/[",))}),
    ],
)
def test_a_command_that_can_not_be_said(form: str, odd: dict[str, object]) -> None:
    with pytest.raises(ExportError) as caught:
        made(form, manifest(**odd))
    assert caught.value.hint


def test_a_name_that_takes_another_file_away() -> None:
    with pytest.raises(ExportError, match=r"/\.wh\.passwd"):
        made("oci", manifest(entry("/.wh.passwd")))


# --- initramfs ----------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(hostile.manifests(xattrs=True))
def test_a_hook_is_words_of_a_shell(jail: Manifest) -> None:
    text = os.fsdecode(made("initramfs", jail))
    words = shlex.split(text.partition("\n\n")[2].partition("\n\n")[2])
    known = {one.path: one for one in jail.entries}
    at = 0
    while at < len(words):
        one = known.pop(words[at + 1])  # type: ignore[call-overload]
        if words[at] == "other":
            at += 2
            continue
        assert words[at + 2] == (one.hard_link if words[at] == "again" else f"{one.mode:04o}")
        if words[at] == "directory":
            assert words[at + 3] == f"{one.uid}:{one.gid}"
        at += 3 + (words[at] == "directory")
    assert not known


@EXAMPLES
@given(hostile.manifests(xattrs=True))
def test_lists_of_words_come_back_or_are_refused(jail: Manifest) -> None:
    for form in ("dracut", "gen-init-cpio"):
        try:
            text = os.fsdecode(made(form, jail))
        except ExportError as refused:
            names = [name for one in jail.entries for name in (one.path, one.target) if name]
            assert any(repr(name) in refused.message or name in refused.message for name in names) and refused.hint
            continue
        lines = text.split("\n")[1:-1]
        if form == "dracut":
            found = [line.removeprefix('install_items+=" ').removesuffix(' "') for line in lines]
            assert sorted(found) == sorted(one.path for one in jail.entries if one.type in (EntryType.FILE, EntryType.SYMLINK))
            continue
        paths = [path for line in lines for path in [line.split(" ")[1], *(line.split(" ")[6:] if line[:4] == "file" else [])]]
        assert sorted(paths) == sorted(hostile.paths(jail))


def test_what_dracut_makes_itself() -> None:
    jail = manifest(entry("/passwd", content=Content.ACCOUNTS), entry("/a"), link("/b", "a"), device("/c", 1, 3), directory("/d"))
    assert made("dracut", jail).splitlines()[1:] == [b'install_items+=" /a "', b'install_items+=" /b "']


def test_the_kernels_list() -> None:
    jail = manifest(entry("/a", mode=0o4755, uid=1, gid=2), entry("/z", hard_link="/a"), link("/b", "a"), device("/c", 1, 3),
                    directory("/d"), entry("/p", type=EntryType.FIFO, sha256="", size=0))
    assert made("gen-init-cpio", jail).decode().splitlines()[1:] == [
        "file /a /srv/jail/a 4755 1 2 /z", "slink /b a 0777 0 0", "nod /c 0666 0 0 c 1 3", "dir /d 0755 0 0", "pipe /p 0644 0 0"]
