"""A web server under load while what it has mapped is replaced: no request fails, and it is named as one to restart."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tool import until

from .tree import tracejail

SERVER = "/usr/sbin/nginx"
CONF = """
daemon off; user www-data; worker_processes 2; pid {top}/run/server.pid; error_log {top}/log/error.log;
events {{ worker_connections 512; }}
http {{ include /etc/nginx/mime.types; access_log off; keepalive_requests 20;
  server {{ listen 127.0.0.1:8080; root {top}/www; }}
  server {{ listen 127.0.0.1:8443 ssl; root {top}/www; ssl_certificate {top}/cert.pem; ssl_certificate_key {top}/key.pem; }} }}
"""
# Requests in plain and by TLS, each on a connection of its own, until its standard input ends.
CLIENT = """
import http.client, json, select, ssl, sys
good, bad = 0, []
context = ssl._create_unverified_context()
while not select.select([sys.stdin], [], [], 0)[0]:
    for make in (lambda: http.client.HTTPConnection("127.0.0.1", 8080, timeout=10),
                 lambda: http.client.HTTPSConnection("127.0.0.1", 8443, timeout=10, context=context)):
        try:
            connection = make()
            for _ in range(3):
                connection.request("GET", "/index.html")
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (200, b"hello\\n")
                good += 1
            connection.close()
        except Exception as error:
            bad.append(repr(error))
print(json.dumps([good, bad]))
"""
NEW = "client=$(command -v curl) && $client -fsSk https://127.0.0.1:8443/index.html && $client -fsS http://127.0.0.1:8080/index.html"


@pytest.fixture
def site() -> Iterator[Path]:
    top = Path(tempfile.mkdtemp(prefix="tracejail-update-"))
    top.chmod(0o755)
    try:
        for name in ("run", "log", "www"):
            (top / name).mkdir()
        (top / "www/index.html").write_text("hello\n")
        (top / "server.conf").write_text(CONF.format(top=top))
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
        subprocess.run(
            ["openssl", *words, "-keyout", str(top / "key.pem"), "-out", str(top / "cert.pem")], check=True, capture_output=True,
        )
        yield top
    finally:
        shutil.rmtree(top)


@contextlib.contextmanager
def serving(jail: Path, top: Path) -> Iterator[int]:
    """The server in its jail, in a network of its own, for the block; the process that holds the network."""
    script = f"ip link set lo up && exec chroot {jail} {SERVER} -c {top}/server.conf"
    holder = subprocess.Popen(["unshare", "--net", "/bin/sh", "-c", script], stdin=subprocess.DEVNULL)
    try:
        ready = ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "/bin/sh", "-c", NEW]
        until(lambda: holder.poll() is None and subprocess.run(ready, capture_output=True, check=False).returncode == 0)
        yield holder.pid
    finally:
        holder.terminate()
        holder.wait(20)


def patched(manifest: Path, tree: Path) -> list[str]:
    """A host root with the files of a manifest, the libraries other than they were; their paths."""
    libraries = []
    for entry in json.loads(manifest.read_text())["entries"]:
        path = tree / entry["path"].lstrip("/")
        if entry["type"] == "dir":
            path.mkdir(parents=True, exist_ok=True)
            shutil.copystat(entry["path"] if os.path.exists(entry["path"]) else "/", path)
        elif entry["type"] == "link":
            path.symlink_to(entry["target"])
        elif entry["type"] == "file" and os.path.exists(entry["path"]):
            shutil.copy2(entry["path"], path)
            status = os.stat(entry["path"])
            os.chown(path, status.st_uid, status.st_gid)
            path.chmod(status.st_mode & 0o7777)
            if ".so" in path.name and "cache" not in path.name:
                with path.open("ab") as stream:
                    stream.write(b"patched")   # behind all that is mapped
                libraries.append(entry["path"])
    return libraries


def test_no_request_fails(site: Path) -> None:
    jail, manifest, tree = site / "server.jail", site / "server.jail.json", site / "host"
    words = ("--exercise", NEW, "--allow", f"{site}/key.pem", "-j", jail, SERVER, "-c", site / "server.conf")
    done = tracejail("learn", *words)
    assert done.status == 0, done.out + done.err
    libraries = patched(manifest, tree)
    assert len(libraries) > 5
    with serving(jail, site) as server:
        client = subprocess.Popen(
            ["nsenter", f"--net=/proc/{server}/ns/net", sys.executable, "-c", CLIENT], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        time.sleep(1)
        for words in (("--from", tree), ("--rollback",), ("--rollback",)):
            done = tracejail("update", "--json", *words, manifest)
            assert done.status == 0, done.out + done.err
            jailed: dict[str, Any] = done.json["jails"][0]
            assert {row["path"] for row in jailed["done"] if row["action"] == "replace"} >= set(libraries)
            if words == ("--from", tree):
                named = {row["name"] for row in jailed["restart"]}
                assert (named, len(jailed["restart"])) == ({"nginx"}, 3), jailed["restart"]
            time.sleep(0.3)
        told, _ = client.communicate(b"end", 60)
        good, bad = json.loads(told)
        assert bad == []
        assert good > 100
        print(f"{good} requests while it was updated three times, none failed")
    with serving(jail, site):
        pass   # it starts with the new ones
    assert tracejail("status", manifest).status == 0, tracejail("status", manifest).out
