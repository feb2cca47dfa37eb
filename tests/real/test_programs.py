"""Real programs: learned, then run under plain chroot, where they do what they do on the host."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from real import WHEN, Site, call, certificate, checked, entry_paths, jailed, learn, process, tracejail, until

Prepare = Callable[[Site], None]


@dataclass(frozen=True)
class Row:
    """A program. {D} in the words is the directory of its files."""

    name: str
    words: tuple[str, ...]
    prepare: Prepare | None = None
    options: tuple[str, ...] = ()
    stderr: bool = False         # what it prints is there
    rounds: int = 2
    reason: str = ""             # for more rounds than two
    status: int = 0


def _plain_files(site: Site) -> None:
    for name in ("one.txt", "two.txt", "three.log"):
        site.write(f"plain/{name}", f"this is {name}\n")
    os.chown(site.files / "plain/two.txt", 33, 33)
    (site.files / "plain/link").symlink_to("one.txt")
    os.utime(site.files / "plain/link", (WHEN, WHEN), follow_symlinks=False)


def _tree(site: Site) -> None:
    for name in ("a/1.txt", "a/b/2.txt", "a/b/3.c", "c/4.txt"):
        site.write(f"tree/{name}", name * 100)


def _lines(site: Site) -> None:
    site.write("lines", "".join(f"{number % 7} line {number}\n" for number in range(100)))


def _archive(site: Site) -> None:
    _tree(site)
    checked("tar", "-C", site.files, "-czf", site.files / "tree.tar.gz", "tree")


def _env_script(site: Site) -> None:
    site.write("script", "#!/usr/bin/env python3\nimport sys\nprint('from', sys.argv[1:])\n", 0o755)


def _nested_script(site: Site) -> None:
    site.write("inner", '#!/bin/sh\necho "inner: $1 $2"\n', 0o755)
    site.write("outer", f"#!{site.files}/inner\nnothing\n", 0o755)


def _repository(site: Site) -> None:
    at = site.files / "origin"
    checked("git", "init", "-q", "-b", "main", at)
    site.write("origin/file", "content\n")
    checked("git", "-C", at, "add", "file")
    checked("git", "-C", at, "commit", "-q", "-m", "first")


def _database(site: Site) -> None:
    checked("sqlite3", site.files / "base.db", "create table t (a, b); insert into t values (1, 'one'), (2, 'two')")


def _text(site: Site) -> None:
    site.write("text", "text\n")


def _i386(site: Site) -> None:
    source = site.write(
        "main.c",
        "#include <stdio.h>\n#include <pwd.h>\n"
        "int main(void) { struct passwd *p = getpwuid(0);\n"
        '    printf("%zu %s\\n", sizeof(void *), p ? p->pw_name : "?"); return 3; }\n',
    )
    checked("gcc", "-m32", "-o", site.files / "main", source)


def _static(site: Site) -> None:
    source = site.write(
        "main.c",
        "#include <stdio.h>\n"
        'int main(void) { char b[5] = ""; FILE *f = fopen("/usr/share/zoneinfo/Europe/Paris", "rb");\n'
        '    if (!f) return 1; fread(b, 1, 4, f); puts(b); return 0; }\n',
    )
    checked("gcc", "-static", "-o", site.files / "main", source)


_PIPELINE = "cat {D}/lines | grep line | sort -n | uniq -c -w 1"
_PYTHON = """
import encodings.idna, json, sqlite3, ssl, zoneinfo, datetime
base = sqlite3.connect(":memory:")
zone = zoneinfo.ZoneInfo("Europe/Paris")
print(json.dumps([
    ssl.create_default_context().verify_mode.name,
    base.execute("select 6 * 7").fetchone()[0],
    str(datetime.datetime(2024, 7, 1, tzinfo=zone)),
    "b\\u00fccher.example".encode("idna").decode(),
]))
"""
_GIT = (
    "git clone -q {D}/origin {D}/clone && cd {D}/clone && echo more >>file && git add file && "
    "git commit -q -m second && git log --format='%H %s' && git status --short"
)
_PERL = 'print POSIX::strftime("%Y-%m-%d", gmtime(0)), " ", POSIX::floor(2.5), "\\n"'

ROWS = (
    Row("ls -l", ("/bin/ls", "-l", "{D}/plain"), _plain_files),
    Row("sh", ("/bin/sh", "-c", "echo $((6 * 7)); cd /; pwd; exit 3"), status=3, options=("--expect", "3")),
    Row("bash pipeline", ("/bin/bash", "-c", _PIPELINE), _lines),
    Row("id", ("/usr/bin/id",)),
    Row("id of a user", ("/usr/bin/id", "www-data")),
    Row("awk", ("/usr/bin/awk", '{ sum[$1] += $3 } END { for (i = 0; i < 7; i++) print i, sum[i] }', "{D}/lines"), _lines),
    Row("gawk", ("/usr/bin/gawk", 'BEGIN { print strftime("%Y", 0, 1), length("\u00e4") }')),
    Row("sed", ("/bin/sed", "-n", "-e", "s/line/LINE/", "-e", "5,7p", "{D}/lines"), _lines),
    Row("find", ("/usr/bin/find", "{D}/tree", "-name", "*.txt"), _tree, rounds=3,
        reason="names that are only listed are found needed by the output of the second round"),
    Row("tar makes", ("/bin/sh", "-c", "tar -C {D} -czf {D}/new.tgz tree && tar -tzf {D}/new.tgz | sort"), _tree),
    Row("tar reads", ("/bin/tar", "-xzvf", "{D}/tree.tar.gz", "-C", "{D}/plain"), lambda s: (_archive(s), _plain_files(s))),  # type: ignore[arg-type,func-returns-value]
    Row("perl", ("/usr/bin/perl", "-MPOSIX", "-e", _PERL)),
    Row("account by number", ("/usr/bin/perl", "-e", 'print +(getpwuid 33)[0], " ", +(getgrgid 33)[0], "\\n"'), rounds=3,
        reason="that an account is used shows in the output of the second round"),
    Row("python", ("/usr/bin/python3", "-c", _PYTHON)),
    Row("env script", ("{D}/script", "a", "b"), _env_script),
    Row("script of a script", ("{D}/outer", "x"), _nested_script),
    Row("git", ("/bin/sh", "-c", _GIT), _repository),
    Row("sqlite3", ("/usr/bin/sqlite3", "{D}/base.db", "insert into t values (3, 'x'); select * from t"), _database),
    Row("openssl", ("/usr/bin/openssl", "dgst", "-provider", "legacy", "-provider", "default", "-md4", "{D}/text"), _text),
    Row("php", ("/usr/bin/php", "-r", 'echo mb_strtoupper("stra\u00dfe \u00e4"), PHP_EOL;')),
    Row("node", ("/usr/bin/node", "-e", 'console.log(require("path").join("a", "b"), new Intl.NumberFormat("de").format(1e6))')),
    Row("java", ("/usr/bin/java", "-version"), stderr=True, rounds=4,
        reason="where java asks for /proc it is learned once more with it"),
    Row("busybox", ("/bin/busybox", "sh", "-c", "busybox id -u; busybox seq 3 | busybox tac")),
    Row("i386", ("{D}/main",), _i386, options=("--expect", "3"), status=3),
    Row("static C", ("{D}/main",), _static),
)


def _hosted(site: Site, row: Row) -> tuple[int, str, str]:
    site.fresh(row.prepare)
    done = call(site.fill_all(row.words))
    assert done.returncode == row.status, done.stdout + done.stderr
    assert (done.stderr if row.stderr else done.stdout).strip()
    site.fresh(row.prepare)
    return done.returncode, done.stdout, done.stderr


def _same_in_jail(site: Site, row: Row) -> None:
    """Learn it, and compare a run under plain chroot with one on the host."""
    status, output, errors = _hosted(site, row)
    manifest = learn(site, *row.options, *site.fill_all(row.words))
    assert manifest["rounds"] <= row.rounds
    assert row.rounds == 2 or row.reason
    done = call(jailed(site, manifest, site.fill_all(row.words)))
    assert (done.stdout, done.returncode) == (output, status), done.stderr
    if row.stderr:
        assert done.stderr == errors


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_program(site: Site, row: Row) -> None:
    _same_in_jail(site, row)


_SERVER = """
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello over TLS\\n")
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@contextlib.contextmanager
def _https(site: Site) -> Iterator[int]:
    """An https server of this machine's 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tls = site.files / "tls"
    words = [sys.executable, "-c", _SERVER, str(port), str(tls / "server.pem"), str(tls / "server.key")]

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    with process(words, site.top / "server.log"):
        until(answers, "https server")
        yield port


def test_curl(site: Site) -> None:
    certificate(site)
    with _https(site) as port:
        words = ["/usr/bin/curl", "-sS", "--cacert", f"{site.files}/tls/ca.pem", f"https://localhost:{port}/"]
        hosted = call(words)
        assert hosted.stdout == "hello over TLS\n", hosted.stderr
        manifest = learn(site, "--net", "host", *words)
        assert manifest["rounds"] == 2
        done = call(jailed(site, manifest, words))
        assert (done.stdout, done.returncode) == (hosted.stdout, 0), done.stderr
        refused = call(jailed(site, manifest, [words[0], "-sS", words[-1]]))
        assert refused.returncode != 0  # no trust anchor


USERS = (("/bin/busybox", "id"), ("/usr/bin/id", "-u"), ("/bin/sh", "-c", "pwd"))


@pytest.mark.parametrize("words", USERS, ids=" ".join)
def test_the_start_line_that_is_printed_works_for_a_user(site: Site, words: tuple[str, ...]) -> None:
    done = tracejail("learn", "-j", str(site.jail), "-u", "www-data", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.partition("start it with:\n")[2].partition("\nor with")[0].splitlines()
    assert lines[-1].strip().startswith("chroot ")
    started = call(["/bin/sh", "-c", lines[-1]])
    assert started.returncode == 0, started.stderr
    if words[-1].startswith("-u"):
        assert started.stdout == "33\n"


AGAIN = ("sh", "bash pipeline", "ls -l", "find", "perl", "python", "git", "php", "i386")


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


@pytest.mark.parametrize("name", AGAIN)
def test_learning_twice_gives_the_same_manifest(site: Site, name: str) -> None:
    row = _row(name)
    site.fresh(row.prepare)
    path = Path(f"{site.jail}.json")
    learn(site, *row.options, *site.fill_all(row.words))
    first = path.read_bytes()
    learn(site, "--replace", *row.options, *site.fill_all(row.words))
    assert path.read_bytes() == first


@pytest.mark.parametrize("name", AGAIN)
def test_restart_gives_the_same_entries(site: Site, name: str) -> None:
    row = _row(name)
    site.fresh(row.prepare)
    in_place = learn(site, *row.options, *site.fill_all(row.words))
    restarted = learn(site, "--replace", "--restart", *row.options, *site.fill_all(row.words))
    assert set(entry_paths(restarted)) ^ set(entry_paths(in_place)) == set()
    assert json.dumps(restarted["mounts"]) == json.dumps(in_place["mounts"])
