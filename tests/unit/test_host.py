"""The host root: nothing outside it is seen, nothing but regular files of real file systems is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracejail.errors import InputOutputError, UsageError
from tracejail.model import EntryType, JailPath
from tracejail.resolve.host import HostRoot, inspect, names, open_host_root, open_source, read_start, xattrs


@pytest.fixture()
def host(tmp_path: Path) -> HostRoot:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/file").write_bytes(b"content")
    (root / "etc/link").symlink_to("/etc/file")
    (root / "etc/out").symlink_to("../../../secret")
    (root / "etc/loop").symlink_to("loop")
    (root / "alias").symlink_to("/etc")
    os.mkfifo(root / "etc/fifo")
    (tmp_path / "secret").write_bytes(b"outside")
    return open_host_root(str(root))


def test_absolute_links_stay_beneath(host: HostRoot) -> None:
    node = inspect(host, JailPath("/alias/file"))
    assert node is not None and (node.type, node.size, node.virtual) == (EntryType.FILE, 7, "")
    assert read_start(host, JailPath("/alias/link"), 3) == b"con"


def test_no_way_out(host: HostRoot) -> None:
    assert read_start(host, JailPath("/etc/out"), 100) == b""
    assert read_start(host, JailPath("/../secret"), 100) == b""
    node = inspect(host, JailPath("/etc/out"))
    assert node is not None and (node.type, node.target) == (EntryType.SYMLINK, "../../../secret")


@pytest.mark.parametrize("path", ["/nothing", "/etc/file/below", "/etc/loop/x", "/" + "a" * 300])
def test_not_there(host: HostRoot, path: str) -> None:
    assert inspect(host, JailPath(path)) is None


@pytest.mark.parametrize("path", ["/etc/fifo", "/etc", "/etc/link", "/nothing"])
def test_only_regular_files_are_opened(host: HostRoot, path: str) -> None:
    with pytest.raises(InputOutputError, match=path):
        open_source(host, JailPath(path))


def test_a_fifo_does_not_block(host: HostRoot) -> None:
    assert read_start(host, JailPath("/etc/fifo"), 10) == b""


def test_source(host: HostRoot) -> None:
    fd = open_source(host, JailPath("/etc/file"))
    assert os.read(fd, 100) == b"content"
    os.close(fd)


def test_virtual_files_are_named_and_never_read() -> None:
    host = open_host_root("/")
    for path, kind in (("/proc/self/status", "proc"), ("/proc/version", "proc")):
        node = inspect(host, JailPath(path))
        assert node is not None and node.virtual == kind
        assert read_start(host, JailPath(path), 10) == b""
        with pytest.raises(InputOutputError, match="proc file system"):
            open_source(host, JailPath(path))


def test_device() -> None:
    node = inspect(open_host_root("/"), JailPath("/dev/null"))
    assert node is not None and (node.type, node.device) == (EntryType.CHARACTER, (1, 3))


def test_names_are_sorted(host: HostRoot) -> None:
    assert names(host, JailPath("/etc")) == ["fifo", "file", "link", "loop", "out"]
    assert names(host, JailPath("/nothing")) == []


def test_names_of_a_file(host: HostRoot) -> None:
    with pytest.raises(InputOutputError, match="/etc/file"):
        names(host, JailPath("/etc/file"))


def test_attributes(host: HostRoot) -> None:
    os.setxattr(f"{host.path}/etc/file", "user.b", b"\x01\xff")
    os.setxattr(f"{host.path}/etc/file", "user.a", b"")
    assert xattrs(host, JailPath("/etc/file")) == (("user.a", ""), ("user.b", "01ff"))
    assert xattrs(host, JailPath("/etc/link")) == ()


def test_root_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "nothing"):
        with pytest.raises(UsageError) as caught:
            open_host_root(str(tmp_path / name))
        assert caught.value.hint
