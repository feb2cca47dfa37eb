"""Other ways to a jail (ReproZip, CDE, CARE, jailkit, an ldd copy), and whether a program works in what they made."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .bench import Bench
from .process import Failed, run
from .sites import Server
from .tools import CDE
from .tools import care as care_tool
from .tools import reprozip as reprozip_tool

Drive = Callable[[list[str], dict[str, str], str], None]  # runs words to their end: environment, directory


def clocked(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def listeners(port: int) -> list[int]:
    """The processes that listen on a loopback TCP port; where a daemon has forked, the eldest."""
    sockets = set()
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{port:04X}") and words[3] == "0A":
            sockets.add(f"socket:[{words[9]}]")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) in sockets for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return sorted(found)[:1]


def tell(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


# --- trees ----------------------------------------------------------------------------------------------------------


def reprozip(bench: Bench, folder: Path, drive: Drive, program: list[str]) -> Path:
    """Trace, pack, and unpack as root, as its unpacker for chroot does. Raises Failed."""
    assert bench.reprozip
    tool = reprozip_tool(bench.reprozip)
    drive(tool.words(program, folder), dict(tool.environment), str(folder))
    pack = folder / "pack.rpz"
    words = [str(bench.reprozip / "reprozip"), "pack", "-d", str(folder / "reprozip"), str(pack)]
    run(words, environment=tool.environment).checked()
    tree = folder / "tree"
    with tarfile.open(pack) as outer:
        data = outer.extractfile("DATA.tar.gz")
        assert data
        with tarfile.open(fileobj=data) as inner:
            inner.extractall(folder / "unpacked", numeric_owner=True)
    (folder / "unpacked/DATA").rename(tree)
    return tree


def cde(folder: Path, drive: Drive, program: list[str]) -> Path:
    drive(CDE.words(program, folder), {}, str(folder))
    return folder / "cde-package/cde-root"


def care(folder: Path, drive: Drive, program: list[str]) -> Path:
    tool = care_tool(folder.parent)
    drive(tool.words(program, folder), dict(tool.environment), str(folder))
    return folder / "care/rootfs"


def jailkit(folder: Path, program: list[str]) -> Path:
    """jk_cp refuses a jail under a directory like /tmp, so it sees ours at /mnt, in a mount namespace of its own."""
    tree = folder / "tree"
    tree.mkdir()
    script = f"mount --bind {shlex.quote(str(tree))} /mnt && jk_cp -j /mnt {shlex.quote(program[0])}"
    run(["unshare", "--mount", "/bin/sh", "-c", script]).checked()
    return tree


def ldd(folder: Path, program: list[str]) -> Path:
    """The classic recipe: the program, and what ldd says of it."""
    tree = folder / "tree"
    tree.mkdir()
    told = run(["ldd", program[0]]).checked().out
    for path in [program[0], *re.findall(r"(/\S+)", told)]:
        copy = tree / path.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tree


def contents(tree: Path) -> tuple[int, int]:
    """How many files and links, and their bytes; devices and directories are not counted."""
    count = size = 0
    for directory, directories, names in os.walk(tree):  # a link to a directory is among the directories
        for path in (Path(directory, name) for name in (*names, *directories)):
            if path.is_symlink() or path.is_file():
                count += 1
                size += path.lstat().st_size
    return count, size


# --- do they work? --------------------------------------------------------------------------------------------------


def _in_tree(tree: Path, helped: bool, then: str) -> bool:
    """Run shell lines beside the tree ($tree) in namespaces of their own, all of whose processes end with it."""
    lines = [f"tree={shlex.quote(str(tree))}", "ip link set lo up"]
    if helped:
        lines += ["mkdir -p $tree/dev $tree/proc", "mount --rbind /dev $tree/dev", "mount -t proc proc $tree/proc"]
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", "\n".join([*lines, then])]
    try:
        return run(words, limit=30).status == 0
    except Failed:
        return False


def runs(tree: Path, program: Sequence[str], helped: bool) -> bool:
    return _in_tree(tree, helped, f"chroot $tree {shlex.join(program)}")


def serves(tree: Path, server: Server, helped: bool) -> bool:
    """The daemon is started in the tree and its client is tried for 5 seconds."""
    user = f"--userspec=$(id -u {server.user}):$(id -g {server.user})" if server.user else ""
    return _in_tree(tree, helped, f"""chroot {user} $tree {shlex.join(server.command)} &
for i in $(seq 50); do
    ( {server.client} ) 2>/dev/null && exit 0
    sleep 0.1
done
exit 1""")
