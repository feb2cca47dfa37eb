"""What the tests against real programs share: the tool, plain chroot, and a clean environment."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
}
WHEN = 1_700_000_000  # the time stamp of all test files
Result = subprocess.CompletedProcess[str]


@dataclass
class Site:
    """A directory of this test alone: `files` is what the target sees, `jail` the jail beside it."""

    top: Path
    words: dict[str, str] = field(default_factory=dict)  # further {name} words of commands, from the set-up

    @property
    def files(self) -> Path:
        return self.top / "files"

    @property
    def jail(self) -> Path:
        return self.top / "jail"

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        os.utime(path, (WHEN, WHEN))
        return path

    def fresh(self, prepare: Callable[[Site], None] | None) -> None:
        """The files as before any run."""
        shutil.rmtree(self.files, ignore_errors=True)
        self.files.mkdir()
        self.files.chmod(0o755)
        if prepare:
            prepare(self)

    def fill(self, text: str) -> str:
        for name, value in {"D": str(self.files), "J": str(self.jail), **self.words}.items():
            text = text.replace("{" + name + "}", value)
        return text

    def fill_all(self, words: tuple[str, ...]) -> list[str]:
        return [self.fill(word) for word in words]


def call(words: list[str], timeout: float = 300) -> Result:
    """Run something in / with the clean environment."""
    return subprocess.run(
        words, cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        check=False, errors="surrogateescape",
    )


def checked(*words: str | Path) -> str:
    """Run a tool of a set-up, which must succeed."""
    done = call([str(word) for word in words])
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def tracejail(*words: str) -> Result:
    """Run the tool."""
    done = subprocess.run(
        [sys.executable, "-m", "tracejail", *words], cwd="/", env={**ENVIRONMENT, "PYTHONPATH": str(TOP)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False, errors="surrogateescape",
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def learn(site: Site, *words: str) -> dict:  # type: ignore[type-arg]
    """Learn a jail at the site, which must be clean; its manifest, and with it the count of `rounds`."""
    done = tracejail("learn", "--json", "-j", str(site.jail), *words)
    result = json.loads(done.stdout) if done.returncode in (0, 1, 3, 4) else {}
    told = {key: result.get(key) for key in ("reason", "ended", "missing", "denied", "notes", "rounds")}
    assert done.returncode == 0, f"exit {done.returncode}\n{json.dumps(told, indent=1)}\n{done.stderr}"
    manifest = json.loads(Path(f"{site.jail}.json").read_text("utf-8"))
    assert manifest["clean"]
    return {**manifest, "rounds": result["rounds"]}


def jailed(site: Site, manifest: dict, words: list[str], user: str = "", network: bool = False) -> list[str]:  # type: ignore[type-arg]
    """The command that runs `words` under plain chroot, with the manifest's mounts and no others."""
    lines = ["set -e"]
    if network:
        lines.append("ip link set lo up")
    for mount in manifest["mounts"]:
        lines.append(f"mount -t {mount['type']} {mount['type']} {shlex.quote(str(site.jail) + mount['path'])}")
    userspec = f"{_numbers(user)} " if user else ""
    # No exec: the target is not to be the first process of its pid namespace, which has signals of its own.
    lines += ["set +e", f"chroot {userspec}{shlex.quote(str(site.jail))} {shlex.join(words)}", "exit $?"]
    spaces = ["--mount", "--pid", "--fork", "--kill-child", *(["--net"] if network else [])]
    return ["unshare", *spaces, "/bin/sh", "-c", "\n".join(lines)]


def _numbers(user: str) -> str:
    """The options of chroot(1) for a user: by number, as it looks names up in the jail, which may have none."""
    account = pwd.getpwnam(user)
    groups = ",".join(str(group) for group in os.getgrouplist(user, account.pw_gid))
    return f"--userspec={account.pw_uid}:{account.pw_gid} --groups={groups}"


def entry_paths(manifest: dict) -> list[str]:  # type: ignore[type-arg]
    return [entry["path"] for entry in manifest["entries"]]


@contextlib.contextmanager
def process(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the background, gone afterwards with all that it started."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            words, cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(10)


def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def certificate(site: Site, name: str = "localhost") -> None:
    """An own authority (ca.pem) and a server's certificate and key (server.pem, server.key) in the files."""
    at = site.files / "tls"
    at.mkdir(exist_ok=True)
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    checked(*new, "-x509", "-subj", "/CN=Test CA", "-keyout", at / "ca.key", "-out", at / "ca.pem")
    checked(*new, "-subj", f"/CN={name}", "-keyout", at / "server.key", "-out", at / "server.csr")
    extensions = at / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n", "ascii")
    checked(
        "openssl", "x509", "-req", "-days", "2", "-in", at / "server.csr", "-CA", at / "ca.pem", "-CAkey",
        at / "ca.key", "-CAcreateserial", "-extfile", extensions, "-out", at / "server.pem",
    )
