"""A host of one's own for a test: the machine's files, with /etc, /var, /run and /srv private to it and gone afterwards.

So a test can configure a server where its package looks for the configuration, and the machine stays as it is.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from real import ENVIRONMENT, TOP, Result

_PRIVATE = ("etc", "var", "run", "srv", "root", "home")
_STAGE = """
set -e
mount -t tmpfs -o mode=0755 tmpfs /mnt
for name in {names}; do
    mkdir -p /mnt/$name/upper /mnt/$name/work
    chmod --reference=/$name /mnt/$name/upper
    mount -t overlay -o lowerdir=/$name,upperdir=/mnt/$name/upper,workdir=/mnt/$name/work overlay /$name
done
umount --lazy /mnt
# A server that runs here, outside any jail, may remove a device, which is the machine's.
for name in null zero full random urandom tty; do mount --bind /dev/$name /dev/$name; done
printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n' >/etc/hosts
chmod 644 /etc/hosts
ip link set lo up
echo staged
exec sleep 100000
"""


class PrivateHost:
    """Mount and network namespaces of their own, held by a process that sleeps."""

    def __init__(self) -> None:
        stage = _STAGE.format(names=" ".join(_PRIVATE))
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "/bin/sh", "-c", stage], stdout=subprocess.PIPE,
            cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL,
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"staged\n"

    def words(self, words: list[str]) -> list[str]:
        """The command line that runs `words` on this host."""
        process = self.holder.pid
        return ["nsenter", f"--mount=/proc/{process}/ns/mnt", f"--net=/proc/{process}/ns/net", "--wd=/", *words]

    def call(self, words: list[str], timeout: float = 300, environment: Mapping[str, str] = ENVIRONMENT) -> Result:
        """Run something on this host to its end."""
        return subprocess.run(
            self.words(words), cwd="/", env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False, errors="surrogateescape",
        )

    def shell(self, script: str) -> str:
        """Run shell lines on this host, each of which must succeed; what they print."""
        done = self.call(["/bin/sh", "-ec", script])
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def path(self, path: str) -> Path:
        """A file of this host, as seen from outside."""
        return Path(f"/proc/{self.holder.pid}/root{path}")

    def tracejail(self, *words: str) -> Result:
        """Run the tool on this host."""
        import sys

        environment = {**ENVIRONMENT, "PYTHONPATH": str(TOP)}
        done = self.call([sys.executable, "-m", "tracejail", *words], environment=environment)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def end(self) -> None:
        """Kill the holder: its mounts go with it."""
        os.kill(self.holder.pid, signal.SIGKILL)
        self.holder.wait(10)
        if self.holder.stdout:
            self.holder.stdout.close()
