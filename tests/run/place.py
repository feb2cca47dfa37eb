"""Where the tests of `run` have their jails: the directories above are root's alone, in a mount namespace that goes with its
shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.tool import COMMAND, Done

HERE = Path(__file__).parent
_PLACE = 'mount -t tmpfs -o mode=755 tmpfs /mnt; mkdir /mnt/jail; cp -a "$0"/. /mnt/jail; '
# Shell lines that put tools of the host into /mnt/jail, with the libraries that they need.
TOOLS = """
    cd /mnt/jail; mkdir -p bin dev proc lib/x86_64-linux-gnu lib64; : > dev/null
    for tool in dash cat cp ls grep sleep mkdir; do
        cp /bin/$tool bin
        for need in $(ldd /bin/$tool | grep -o '/[^ ]*'); do cp $need .$need; done
    done
    cd /
"""


def run(jail: Path, before: str, *words: str, env: dict[str, str] | None = None) -> Done:
    """`tracejail run -j /mnt/jail` with these words, after shell commands that make it harder."""
    return shell(jail, f'{before}exec "$@"', *COMMAND, "run", "-j", "/mnt/jail", *words, env=env)


def shell(jail: Path, script: str, *words: str, env: dict[str, str] | None = None) -> Done:
    """Shell commands, with a copy of the jail on /mnt/jail, and with words."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"set -e; {_PLACE}{script}", jail, *words],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False, cwd="/", env={**os.environ, **(env or {})},
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def built(place: Path, *names: str) -> Path:
    """A jail with static programs of these names, and a directory that all may write to."""
    place.mkdir(mode=0o755)
    for name in names:
        subprocess.run(["gcc", "-O1", "-Wall", "-static", "-o", place / name, HERE / f"{name}.c"], check=True)
    (place / "work").mkdir()
    (place / "work").chmod(0o1777)
    place.chmod(0o755)
    return place
