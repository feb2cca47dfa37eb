"""Jails of servers by their scores: learned ones, what jailkit copies, and a debootstrap tree.
`python -m tests.audit.scores` makes them all and writes RESULTS.txt (some minutes)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "real"))

from private_host import PrivateHost
from servers import data, web
from servers.row import Row

RESULTS = Path(__file__).with_name("RESULTS.txt")
_MIRROR = "http://deb.debian.org/debian"
# What a reader of jailkit's manual gives a daemon: its program, its files, and the sections of jk_init.ini for users, network
# and log; then the same with a shell, as its examples have it.
_BARE = "uidbasics netbasics logbasics"
_COPIED = {
    "nginx": "/usr/sbin/nginx /etc/nginx /usr/lib/nginx/modules /usr/share/nginx /var/log/nginx /var/lib/nginx /var/www",
    "redis": "/usr/bin/redis-server /etc/redis /var/lib/redis /var/log/redis",
    "postgresql": "/usr/lib/postgresql/15/bin/postgres /usr/lib/postgresql/15/lib /usr/share/postgresql/15 "
                  "/etc/postgresql /var/lib/postgresql "
                  "/etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem",
}
# What it writes to, which jailkit leaves out where it is empty.
_WRITTEN = {
    "nginx": "/var/lib/nginx /var/log/nginx", "redis": "/var/lib/redis /var/log/redis /run/redis",
    "postgresql": "/run/postgresql",
}
SERVERS: tuple[Row, ...] = tuple(row for row in (*web.ROWS, *data.ROWS) if row.name in _COPIED)


@dataclass(frozen=True)
class Result:
    """One jail: who made it for which server, and what audit says of it."""

    server: str
    maker: str
    score: int
    objects: int
    findings: int
    worst: tuple[str, ...]     # severity and rule with the number of findings, the worst first
    seconds: float


def told(server: str, maker: str, said: dict[str, Any]) -> Result:
    """Of audit's document."""
    counted = [each for each in said["findings"] if each["weight"]]
    rules: dict[tuple[str, str], int] = {}
    for each in counted:
        rules[each["severity"], each["rule"]] = rules.get((each["severity"], each["rule"]), 0) + 1
    worst = tuple(f"{count} {severity} {rule}" for (severity, rule), count in rules.items())
    return Result(server, maker, said["score"], said["objects"], len(counted), worst, said["seconds"])


@contextmanager
def private_host() -> Iterator[PrivateHost]:
    """With an empty /srv of its own, which is root's alone, as are the directories above."""
    host = PrivateHost()
    try:
        yield host
    finally:
        host.end()


def audited(host: PrivateHost, *words: str) -> dict[str, Any]:
    """Audit's document of a jail there."""
    done = host.tracejail("audit", "--json", *words)
    assert done.returncode in (0, 1), done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def learned(host: PrivateHost, row: Row, site: str) -> Result:
    """By tracejail, with the client of tests/real as its exercise; `site` is a directory for that."""
    for script in (row.runtime, row.prepare):
        host.shell(script.replace("{T}", site))
    Path(site, "client").write_text(row.client.replace("{T}", site))
    words = ["-j", f"/srv/{row.name}", "--stop", row.stop, *(["-u", row.user] if row.user else []), *row.options]
    done = host.tracejail("learn", "-q", *words, "--exercise", f"sh {site}/client", *row.command)
    assert done.returncode == 0, done.stdout + done.stderr
    return told(row.name, "tracejail", audited(host, f"/srv/{row.name}"))


def copied(host: PrivateHost, row: Row, more: str = "") -> Result:
    """By jailkit: what its tools copy. Called after `learned`, which makes the server's files."""
    jail = f"/srv/jailkit-{row.name}{'-shell' if more else ''}"
    user = ["-u", row.user] if row.user else []
    made = "; ".join(
        f"test -d {jail}{path} || cp -a --parents {path} {jail}/" for path in _WRITTEN[row.name].split()
    )
    host.shell(f"mkdir {jail}; jk_init -j {jail} {_BARE} {more}; jk_cp -o -j {jail} {_COPIED[row.name]} || true; {made}")
    return told(row.name, f"jailkit, {f'with {more}' if more else 'its program alone'}", audited(host, *user, jail))


def debootstrap_words(top: Path) -> tuple[list[str], dict[str, str]]:
    """The command and its environment: that which is installed, else its package unpacked in a directory."""
    if found := shutil.which("debootstrap"):
        return [found], {}
    subprocess.run(["apt-get", "download", "-qq", "debootstrap"], cwd=top, check=True, capture_output=True, timeout=120)
    (package,) = top.glob("debootstrap_*.deb")
    subprocess.run(["dpkg", "-x", package, top / "debootstrap"], check=True)
    place = top / "debootstrap/usr"
    return [str(place / "sbin/debootstrap")], {"DEBOOTSTRAP_DIR": str(place / "share/debootstrap")}


def debootstrapped(top: Path, foreign: bool) -> Path:
    """A tree of the variant minbase. `foreign`: unpacked, and not set up, which takes half the time."""
    words, environment = debootstrap_words(top)
    tree = top / "tree"
    more = ["--foreign"] if foreign else []
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *words, *more, "--variant=minbase", "bookworm", tree, _MIRROR],
        env={**os.environ, **environment}, check=True, capture_output=True, timeout=900,
    )
    return tree


def of_tree(host: PrivateHost, tree: Path) -> Result:
    """A debootstrap tree, seen in a directory that is root's alone."""
    host.shell(f"mkdir /srv/debootstrap; mount --bind {tree} /srv/debootstrap")
    return told("any", "debootstrap", audited(host, "/srv/debootstrap"))


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone afterwards."""
    top = Path(tempfile.mkdtemp(prefix="tracejail-audit."))
    top.chmod(0o755)
    try:
        yield top
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", "--", top], check=True)


def results() -> Iterator[Result]:
    """All of the table."""
    with scratch() as top:
        for row in SERVERS:
            with private_host() as host:
                yield learned(host, row, str(top))
                yield copied(host, row)
                yield copied(host, row, "basicshell")
        tree = debootstrapped(top, foreign=False)
        with private_host() as host:
            yield of_tree(host, tree)


def main() -> None:
    lines = [f"{'server':<12} {'made by':<32} {'score':>6} {'findings':>9} {'objects':>8} {'seconds':>8}"]
    details: list[str] = []
    for each in results():
        lines.append(
            f"{each.server:<12} {each.maker:<32} {each.score:>6} {each.findings:>9} {each.objects:>8} {each.seconds:>8.2f}"
        )
        print(lines[-1], flush=True)
        details += ["", f"{each.server}, {each.maker}:", *(f"  {line}" for line in each.worst)]
    RESULTS.write_text("\n".join([*lines, *details]) + "\n")


if __name__ == "__main__":
    main()
