"""^C at each moment of the committed part: it is left as a kill leaves it, and the next update goes on."""

from __future__ import annotations

import os
import subprocess

from tracejail.jail.upkeep import PENDING

from .conftest import Ground
from .tree import COMMAND, ENVIRONMENT, litter, says, tracejail

# Raises at the n-th call that renames or removes a name, before or behind it, once all is committed.
SCRIPT = """
import os, sys
left, behind, committed = int(sys.argv[1]), sys.argv[2] == "behind", False
def wrapped(real):
    def call(*given, **more):
        global left, committed
        now = committed
        if given[1:2] == ("pending",):
            committed = True
        left -= now
        if now and left < 0 and not behind:
            left = 1 << 30
            raise KeyboardInterrupt
        answer = real(*given, **more)
        if now and left < 0:
            left = 1 << 30
            raise KeyboardInterrupt
        return answer
    return call
for name in ("rename", "unlink", "link", "chmod", "chown"):
    setattr(os, name, wrapped(getattr(os, name)))
sys.argv[:] = ["tracejail", "update", *sys.argv[3:]]
from tracejail.cli.main import main
sys.exit(main())
"""


def interrupted(ground: Ground, count: int, where: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND[0], "-c", SCRIPT, str(count), where, *words, str(ground.manifest)], env={**os.environ, **ENVIRONMENT},
        capture_output=True, text=True, check=False,
    )


def test_at_each_change(quick_ground: Ground) -> None:
    ground = quick_ground
    before = ground.manifest.read_bytes()
    ground.host.greet('"patched"')
    ground.host.write("etc/hello.conf", "new\n")
    (ground.host.top / "usr/bin/hello").chmod(0o700)
    pending = ground.top / ".hello.jail.upkeep" / PENDING
    met = 0
    for where in ("before", "behind"):
        for count in range(100):
            done = interrupted(ground, count, where)
            if done.returncode == 0:
                break
            assert done.returncode == 130, done.stderr
            if pending.exists():
                met += 1
                assert "the next tracejail update finishes it" in done.stderr
                assert "was finished" in tracejail("update", ground.manifest).out
            assert says(ground.jail) == "patched new\n"
            assert tracejail("status", "--full", ground.manifest).status == 0
            assert litter(ground.top) == []
            done = interrupted(ground, count, where, "--rollback")
            if done.returncode == 0:
                assert count > 5
            elif pending.exists():
                assert "was finished" in tracejail("update", "--rollback", ground.manifest).out
            assert (says(ground.jail), ground.manifest.read_bytes()) == ("hello world\n", before)
    assert met > 8


def test_what_a_kill_left_done_is_undone_with_the_rest(quick_ground: Ground) -> None:
    """The next call finds a file changed: then nothing of the update stays, nor its manifest."""
    ground = quick_ground
    before = ground.manifest.read_bytes()
    ground.host.greet('"patched"')
    ground.host.write("etc/hello.conf", "new\n")
    script = (
        "import os, sys, tracejail.committed as c\nc.close_journal = lambda at: os.kill(os.getpid(), 9)\n"
        "sys.argv[:] = ['tracejail', 'update', sys.argv[1]]\nfrom tracejail.cli.main import main\nmain()\n"
    )
    words = [COMMAND[0], "-c", script, str(ground.manifest)]
    assert subprocess.run(words, env={**os.environ, **ENVIRONMENT}, check=False).returncode == -9
    assert ground.manifest.read_bytes() != before
    conf = ground.jail / "etc/hello.conf"
    conf.unlink()
    conf.write_text("of another\n")
    done = tracejail("update", ground.manifest)
    assert done.status == 5
    assert (says(ground.jail), ground.manifest.read_bytes()) == ("hello of another\n", before)
    assert litter(ground.top) == []
