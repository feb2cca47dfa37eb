"""Servers as Debian packages them: learned with a real client, with reload and a second start; then the same client, reload
and second start in the plain jail, by chroot(1); and a third one by `tracejail run`, with the capabilities of the manifest."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from private_host import PrivateHost
from real import ENVIRONMENT, TOP, Site, entry_paths, until
from servers import data, login, mail, names, system, web
from servers.row import Row

ROWS: tuple[Row, ...] = (*web.ROWS, *data.ROWS, *names.ROWS, *system.ROWS, *login.ROWS, *mail.ROWS)


def _client(site: Site, row: Row) -> str:
    """The client as a shell script that fails where it does not print what is expected."""
    site.write("client", row.client.replace("{T}", str(site.files)))
    site.write("expected", row.expected.replace("{T}", str(site.files)))
    d = site.files
    return f"sh {d}/client >{d}/said 2>&1; cmp {d}/said {d}/expected || {{ cat {d}/said; exit 1; }}"


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


class Jailed:
    """The server in its plain jail: the report's own start command, in mount, pid and network namespaces."""

    def __init__(
        self, host: PrivateHost, site: Site, row: Row, manifest: dict, confined: bool = False,  # type: ignore[type-arg]
    ) -> None:
        lines = ["set -e", "ip link set lo up"]
        # No exec: the target is not to be the first process of its pid namespace, which has signals of its own.
        # And a server that goes into the background lives as long as its namespace.
        if confined:
            # The directories above a jail are to be root's alone, and /tmp is not.
            lines += ["mount -t tmpfs -o mode=755 tmpfs /mnt", "mkdir /mnt/jail", f"mount --bind {site.jail} /mnt/jail"]
            root = "" if manifest["command"].get("uid") else "--allow-root "
            server = f"{sys.executable} -m tracejail run {root}-m {site.jail}.json -j /mnt/jail"
        else:
            for mount in manifest["mounts"]:
                lines.append(f"mount -t {mount['type']} {mount['type']} {shlex.quote(str(site.jail) + mount['path'])}")
            server = f"chroot {_user(manifest)}{shlex.quote(str(site.jail))} {shlex.join(manifest['command']['argv'])}"
        lines += ["set +e", server, "status=$?", "while kill -0 -1 2>/dev/null; do sleep 0.2; done", "exit $status"]
        given = dict(word.split("=", 1) for option, word in pairwise(row.options) if option == "-E")
        self.log = (site.top / "log").open("ab")
        self.site = site
        self.process = subprocess.Popen(
            host.words(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "/bin/sh", "-c", "\n".join(lines)]),
            cwd="/", env={**ENVIRONMENT, **given, "PYTHONPATH": str(TOP)}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )

    def client(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["timeout", "40", "nsenter", f"--target={self.process.pid}", "--mount", "--net", "--wd=/", "/bin/sh", "-c", script],
            cwd="/", env={**ENVIRONMENT, "TRACEJAIL_ROOT": str(self.site.jail)}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60, check=False,
        )

    def serves(self, row: Row, client: str) -> None:
        ready = row.ready.replace("{T}", str(self.site.files)) or client
        until(lambda: self.process.poll() is not None or self.client(ready).returncode == 0, f"{row.name} serves", 20)
        done = self.client(client)
        said, log = _text(self.site.files / "said"), _text(self.site.top / "log")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\nsaid: {said}\nlog: {log}"

    def servers(self) -> list[int]:
        """The server's own process: the child of the shell; or what it left to the first process of the namespace."""
        first = _children(self.process.pid)
        return [shell for top in first for shell in _children(top)]

    def signal(self, number: int) -> None:
        for process in self.servers():
            with contextlib.suppress(ProcessLookupError):  # the shell's own sleep, say
                os.kill(process, number)

    def end(self, stop: int) -> None:
        if self.process.poll() is None:
            self.signal(stop)
            until(lambda: self.process.poll() is not None or not self.servers(), "it ends", 20)
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.log.close()


def _user(manifest: dict) -> str:  # type: ignore[type-arg]
    command = manifest["command"]
    if not command.get("user"):
        return ""
    groups = f"--groups={','.join(map(str, command['groups']))} " if command.get("groups") else ""
    return f"--userspec={command.get('uid', 0)}:{command.get('gid', 0)} {groups}"


def _children(process: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text("ascii").split()]
    except OSError:  # it has ended meanwhile
        return []


def _prepare(site: Site, host: PrivateHost, *scripts: str) -> None:
    for script in scripts:
        host.shell(script.replace("{T}", str(site.files)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_server(site: Site, host: PrivateHost, row: Row) -> None:
    site.fresh(None)
    client = _client(site, row)
    _prepare(site, host, row.runtime, row.prepare)
    options = ["--again", "--stop", row.stop]
    options += ["--reload", row.reload] if row.reload else []
    options += ["--reopen", row.reopen] if row.reopen else []
    options += ["-u", row.user] if row.user else []
    done = host.tracejail("learn", "--json", "-j", str(site.jail), *options, *row.options, "--exercise", client, *row.command)
    result = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    told = {key: result.get(key) for key in ("reason", "ended", "missing", "denied", "notes", "rounds")}
    told["said"] = _text(site.files / "said")
    shown = json.dumps(told, indent=1, ensure_ascii=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{shown}\n{done.stderr[-4000:]}"
    manifest = json.loads(Path(f"{site.jail}.json").read_text("utf-8"))
    paths = set(entry_paths(manifest))
    assert set(row.held) <= paths
    assert not set(row.kept_out) & paths
    assert result["rounds"] <= row.rounds, json.dumps(told, indent=1)
    for time in ("first", "second", "confined"):
        jailed = Jailed(host, site, row, manifest, time == "confined")
        try:
            jailed.serves(row, client)
            for word in (row.reload, row.reopen) if time != "second" else ():
                if word.startswith("command:"):
                    assert jailed.client(word.removeprefix("command:")).returncode == 0
                elif word:
                    jailed.signal(signal.Signals[f"SIG{word}"])
                if word:
                    jailed.serves(row, client)
        finally:
            jailed.end(signal.Signals[f"SIG{row.stop}"])


@pytest.mark.parametrize("row", [row for row in ROWS if row.unit], ids=lambda row: row.unit)
def test_unit(site: Site, host: PrivateHost, row: Row) -> None:
    """The unit is enough, beside what may be copied of what is secret."""
    site.fresh(None)
    client = _client(site, row)
    _prepare(site, host, row.prepare)
    allowed = [word for pair in pairwise(row.options) if pair[0] == "--allow" for word in pair]
    done = host.tracejail("learn", "--json", "-j", str(site.jail), "--unit", row.unit, *allowed, "--exercise", client)
    result = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    told = {key: result.get(key) for key in ("reason", "ended", "missing", "denied", "notes", "rounds")}
    told["said"] = _text(site.files / "said")
    assert done.returncode == 0, f"exit {done.returncode}\n{json.dumps(told, indent=1)}\n{done.stderr[-4000:]}"
    manifest = json.loads(Path(f"{site.jail}.json").read_text("utf-8"))
    # Not what is to be kept out: what a unit runs beside the server may need it.
    assert set(row.held) <= set(entry_paths(manifest))
    jailed = Jailed(host, site, row, manifest)
    try:
        jailed.serves(row, client)
    finally:
        jailed.end(signal.Signals[f"SIG{row.stop}"])
