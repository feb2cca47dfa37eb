"""What /proc says of a process that runs, asked about this one."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from tracejail.kernel import running


def test_family_and_names() -> None:
    own = os.getpid()
    child = subprocess.Popen(["/bin/sleep", "60"])
    try:
        assert running.family_of(own)[0] == own
        assert child.pid in running.family_of(own)
        assert running.parent_of(child.pid) == own
        assert running.is_there(child.pid)
        assert running.executed_as(child.pid) == "/bin/sleep"
        assert running.command_line(child.pid) == ("/bin/sleep", "60")
    finally:
        child.kill()
        child.wait()
    assert not running.is_there(child.pid)
    assert running.family_of(child.pid) == [child.pid]
    assert running.threads_of(child.pid) == []
    assert (running.name_of(child.pid), running.program_of(child.pid), running.identity_of(child.pid)) == ("", "", None)
    assert not running.is_kernel_thread(own)
    assert running.tracer_of(own) == 0
    assert running.program_of(own) == os.path.realpath(sys.executable)


def test_threads() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id in running.threads_of(os.getpid())
        assert running.live_thread(os.getpid()) == os.getpid()
    finally:
        over.set()
        thread.join()


def test_descriptors_and_maps(tmp_path: Path) -> None:
    (tmp_path / "new\nline").write_bytes(b"x" * 4096)
    (tmp_path / "deleted").write_bytes(b"x" * 4096)
    with (tmp_path / "new\nline").open("r+b") as first, (tmp_path / "deleted").open("rb") as second:
        with mmap.mmap(first.fileno(), 4096) as _, mmap.mmap(second.fileno(), 4096, prot=mmap.PROT_READ) as _:
            (tmp_path / "deleted").unlink()
            found = {each.path: each for each in running.mapped_by(os.getpid())}
            assert found[str(tmp_path / "new\nline")].written
            assert not found[str(tmp_path / "new\nline")].deleted
            assert found[str(tmp_path / "deleted")].deleted
            assert not found[str(tmp_path / "deleted")].written
        opened = {each.path: each for each in running.descriptors_of(os.getpid())}
        assert opened[str(tmp_path / "new\nline")].flags & os.O_ACCMODE == os.O_RDWR
        assert opened[str(tmp_path / "deleted")].deleted


_ALTERNATES = """
import os, sys
while True:
    os.close(os.open(sys.argv[1], os.O_RDONLY))
    os.close(os.open(sys.argv[2], os.O_WRONLY))
"""


def test_a_descriptor_whose_number_is_used_again(tmp_path: Path) -> None:
    expected = {str(tmp_path / "read"): os.O_RDONLY, str(tmp_path / "written"): os.O_WRONLY}
    for path in expected:
        Path(path).touch()
    seen = dict.fromkeys(expected, 0)
    with subprocess.Popen([sys.executable, "-c", _ALTERNATES, *expected]) as child:
        try:
            while min(seen.values()) < 300:
                for each in running.descriptors_of(child.pid):
                    if each.path in expected:
                        assert each.flags & os.O_ACCMODE == expected[each.path]
                        seen[each.path] += 1
        finally:
            child.kill()


def test_listening_sockets(tmp_path: Path) -> None:
    with socket.socket() as four, socket.socket(socket.AF_INET6) as six, socket.socket(socket.AF_UNIX) as local:
        four.bind(("127.0.0.1", 0))
        six.bind(("::1", 0))
        local.bind(str(tmp_path / "s"))
        for each in (four, six, local):
            each.listen(1)
        assert set(running.listens_of(os.getpid())) >= {
            f"127.0.0.1:{four.getsockname()[1]}", f"[::1]:{six.getsockname()[1]}", f"unix:{tmp_path}/s"
        }


def test_identity() -> None:
    identity = running.identity_of(os.getpid())
    assert identity is not None
    assert (identity.uid, identity.gid) == (os.geteuid(), os.getegid())
    assert identity.users >= {os.getuid()}
