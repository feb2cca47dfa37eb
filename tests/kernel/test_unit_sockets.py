"""A service that a socket unit starts, whose sockets have paths: what the service manager makes above them is in the jail."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.tool import COMMAND, Done, run_words

_SERVER = """import os, signal, socket, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
count = int(os.environ["LISTEN_FDS"])
here = [os.stat(each) for each in {places!r}]
with open("/run/modes", "w") as out:
    print(*(oct(each.st_mode & 0o7777) for each in here), file=out)
s = socket.socket(fileno=3)
while True:
    peer, _ = s.accept(); peer.sendall(b"ok %d" % count); peer.close()
"""
_CLIENT = """import os, socket
s = socket.socket(socket.AF_UNIX); s.connect(os.environ["TRACEJAIL_ROOT"] + {path!r})
assert s.recv(9) == b"ok 1"
"""


def _learn(where: Path, socket: str, path: str, places: tuple[str, ...], prepare: str = "", *options: str) -> Done:
    """Learn a service of such a socket unit, where /run is empty but for it."""
    python = "/usr/bin/python3 -I -S"
    for name, text in (("server.py", _SERVER.format(places=places)), ("client.py", _CLIENT.format(path=path))):
        (where / name).write_text(text)
    (where / "so.socket").write_text(f"[Socket]\n{socket}\n")
    (where / "so.service").write_text(f"[Unit]\nRequires=so.socket\n[Service]\nExecStart={python} {where}/server.py\n")
    learn = [*COMMAND, "learn", "--json", "-j", str(where / "jail"), "--unit", "so", "--exercise", f"{python} {where}/client.py"]
    lines = [
        "mount -t tmpfs none /run", "mkdir -p /run/systemd/system", f"cp {where}/so.* /run/systemd/system", prepare,
        shlex.join([*learn, *options]),
    ]
    return run_words(["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(lines)])


def _entries(where: Path, done: Done) -> dict[str, Any]:
    assert (done.status, done.json["clean"]) == (0, True), done.out + done.err
    return {entry["path"]: entry for entry in json.loads((where / "jail.json").read_text())["entries"]}


@pytest.mark.parametrize(("setting", "mode"), [("", 0o755), ("DirectoryMode=0711\n", 0o711)])
def test_the_directories_are_made(place: Path, setting: str, mode: int) -> None:
    done = _learn(place, f"{setting}ListenStream=/run/so/deep/a.sock", "/run/so/deep/a.sock", ("/run/so", "/run/so/deep"))
    entries = _entries(place, done)
    for path in ("/run/so", "/run/so/deep"):
        assert (entries[path]["type"], int(entries[path]["mode"], 8), entries[path]["origin"]) == ("dir", mode, "service")
        assert (place / f"jail{path}").stat().st_mode & 0o7777 == mode
    assert not (place / "jail/run/so/deep/a.sock").exists()


def test_a_directory_of_the_host_is_as_it_is_there(place: Path) -> None:
    done = _learn(place, "ListenStream=/run/so/a.sock", "/run/so/a.sock", ("/run/so",), "mkdir -m 1733 /run/so")
    assert int(_entries(place, done)["/run/so"]["mode"], 8) == 0o1733


def test_by_a_link(place: Path) -> None:
    """As the /var/run of many a unit."""
    done = _learn(place, "ListenStream=/run/l/a.sock", "/run/so/a.sock", ("/run/so",), "mkdir /run/so; ln -s so /run/l")
    entries = _entries(place, done)
    assert (entries["/run/l"]["type"], entries["/run/so"]["type"]) == ("link", "dir")


def test_an_address_that_is_taken(place: Path) -> None:
    server = "import socket, time; s = socket.create_server(('127.0.0.1', 7013)); time.sleep(20)"
    server = f'{shlex.join(["python3", "-c", server])} & trap "kill $!" 0'
    wait = "until bash -c ': </dev/tcp/127.0.0.1/7013' 2>/dev/null; do sleep 0.1; done"
    done = _learn(place, "ListenStream=127.0.0.1:7013", "/a", (), f"{server}\n{wait}", "--net", "host")
    assert done.status == 2 and "tcp:127.0.0.1:7013" in done.err and "Address already in use" in done.err, done.err
    assert "--socket" not in done.err and "leave out --net host" in done.err
