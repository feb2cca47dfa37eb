"""An interactive target has the terminal in the learning run: what is typed reaches it, and job control works."""

from __future__ import annotations

import os
import pty
import select
import time
from pathlib import Path

from tests.tool import COMMAND


def read_until(fd: int, text: bytes, seconds: float = 20) -> bytes:
    got = b""
    end = time.monotonic() + seconds
    while text not in got:
        assert time.monotonic() < end, f"no {text!r} in {got!r}"
        if select.select([fd], [], [], 0.1)[0]:
            try:
                got += os.read(fd, 4096)
            except OSError:  # EIO: the other side is closed
                break
    return got


def test_a_shell_on_a_terminal(tmp_path: Path) -> None:
    process, fd = pty.fork()
    if process == 0:
        os.environ["PS1"] = "prompt> "
        os.execv(COMMAND[0], [*COMMAND, "learn", "-j", str(tmp_path / "jail"), "/bin/bash", "--norc", "-i"])
    try:
        read_until(fd, b"prompt> ")
        os.write(fd, b"ls -d /etc/passwd; sleep 30\n")
        read_until(fd, b"/etc/passwd\r\n")
        time.sleep(0.5)
        os.write(fd, b"\x03")  # to the sleep, not to tracejail
        read_until(fd, b"prompt> ")
        os.write(fd, b"echo status $?\n")
        read_until(fd, b"status 130")
        os.write(fd, b"exit 0\n")
        said = read_until(fd, b"start it with")
        assert b"CLEAN" in said and b"NOT CLEAN" not in said, said
        while True:
            try:
                if not os.read(fd, 4096):
                    break
            except OSError:
                break
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
        process = 0
        assert (tmp_path / "jail/usr/bin/sleep").exists()
    finally:
        os.close(fd)
        if process:
            os.kill(process, 9)
            os.waitpid(process, 0)
