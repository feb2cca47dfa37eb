"""As a plain user without any capability: learned, run from what was learned, and built anew by root from the manifest."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import test_daemons
import test_programs
from real import ENVIRONMENT, TOP, Result, Site, call, jailed, process, tracejail, until

USER = 12345
PYTHON = "/usr/bin/python3"   # the one that runs the tests may lie where nobody else gets to
PLAIN = (
    "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
    "--ambient-caps=-all",
)


@dataclass(frozen=True)
class Account:
    """A plain user: where the tool lies that he can read, and his home."""

    code: Path
    home: Path
    before: tuple[str, ...] = field(default=PLAIN)   # words that make a command his

    def call(self, *words: str, **more: str) -> Result:
        environment = {**ENVIRONMENT, "HOME": str(self.home), "PYTHONPATH": str(self.code), **more}
        return subprocess.run(
            [*self.before, *words], cwd=self.home, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120, check=False, errors="surrogateescape",
        )

    def tracejail(self, *words: str, **more: str) -> Result:
        done = self.call(PYTHON, "-m", "tracejail", *words, **more)
        assert "Traceback (" not in done.stderr, done.stderr
        return done

    def learn(self, jail: Path, *words: str) -> dict:  # type: ignore[type-arg]
        done = self.tracejail("learn", "--json", "-j", str(jail), *words)
        result = json.loads(done.stdout) if done.returncode in (0, 1, 3, 4) else {}
        told = {key: result.get(key) for key in ("reason", "hint", "ended", "missing", "denied", "notes", "output")}
        assert done.returncode == 0, f"exit {done.returncode}\n{json.dumps(told, indent=1)}\n{done.stderr}"
        manifest = json.loads(Path(f"{jail}.json").read_text("utf-8"))
        assert manifest["clean"]
        return {**manifest, "notes": result["notes"]}


def give(path: Path) -> None:
    """All that is root's in a tree is the user's afterwards."""
    for found in (path, *path.rglob("*")):
        if found.lstat().st_uid == 0:
            os.chown(found, USER, USER, follow_symlinks=False)


@pytest.fixture(scope="module")
def code() -> Iterator[Path]:
    import elftools
    import ptrace
    import tabulate

    top = Path(tempfile.mkdtemp(prefix="tracejail-code-"))
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TOP / "tracejail", top / "tracejail", ignore=ignore)
    for module in (elftools, ptrace, tabulate):
        assert module.__file__
        place = Path(module.__file__).parent
        shutil.copytree(place, top / place.name, ignore=ignore)
    for path in (top, *top.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield top
    shutil.rmtree(top)


@pytest.fixture
def account(code: Path, site: Site) -> Account:
    home = site.top / "home"
    home.mkdir()
    os.chown(home, USER, USER)
    assert sys.version_info[:2] >= (3, 11)
    account = Account(code, home)
    assert account.call("cat", "/proc/self/status").stdout.count("\t0000000000000000\n") >= 4
    return account


def root_build(site: Site, manifest_of: Path) -> None:
    """What root makes of the user's manifest, at the site's jail."""
    done = tracejail("build", f"{manifest_of}.json", "-j", str(site.jail))
    assert done.returncode == 0, done.stderr


def user_jailed(jail: Path, manifest: dict, words: list[str], network: bool = False) -> list[str]:  # type: ignore[type-arg]
    """The command by which a user runs `words` in his jail."""
    place = shlex.quote(str(jail))
    lines = ["set -e"]
    if network:
        lines.append("ip link set lo up")
    for entry in manifest["entries"]:
        if entry["type"] == "char":
            lines.append(f"mount --bind {entry['path']} {place}{entry['path']}")
    for mount in manifest["mounts"]:
        lines.append(f"mount -t {mount['type']} {mount['type']} {place}{mount['path']}")
    lines += ["set +e", f"chroot {place} {shlex.join(words)}", "exit $?"]
    spaces = ["--map-root-user", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if network else [])]
    return ["unshare", *spaces, "/bin/sh", "-c", "\n".join(lines)]


PROGRAMS = (
    "ls -l", "sh", "bash pipeline", "id", "awk", "gawk", "sed", "find", "tar makes", "perl", "python", "env script",
    "git", "sqlite3", "openssl", "php", "node", "java", "busybox", "static C",
)
# What they print of owners is root's without root: nobody else is there.
_PRINTS_OWNERS = ("ls -l",)
ROWS = [row for row in test_programs.ROWS if row.name in PROGRAMS]


def fresh(site: Site, prepare: Callable[[Site], object] | None) -> None:
    site.fresh(prepare)  # type: ignore[arg-type]
    give(site.files)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_program(site: Site, account: Account, row: test_programs.Row) -> None:
    fresh(site, row.prepare)
    words = site.fill_all(row.words)
    hosted = call(words)
    fresh(site, row.prepare)
    jail = account.home / "jail"
    manifest = account.learn(jail, *row.options, *words)

    mine = account.call(*user_jailed(jail, manifest, words))
    wanted = hosted.stdout
    if row.name in _PRINTS_OWNERS:
        wanted = wanted.replace("12345 12345", "root  root ").replace("www-data www-data", "root root")
        assert mine.stdout.split() == wanted.split(), mine.stderr
    else:
        assert (mine.stdout, mine.returncode) == (wanted, row.status), mine.stderr

    fresh(site, row.prepare)
    root_build(site, jail)
    rooted = call(jailed(site, manifest, words))
    assert (rooted.stdout, rooted.returncode) == (hosted.stdout, row.status), rooted.stderr


def test_the_manifest_is_that_of_root(site: Site, account: Account) -> None:
    """All but the place of the jail: owners, modes, file capabilities."""
    fresh(site, test_programs._plain_files)
    site.write("plain/setuid", "x", 0o4755)
    words = ["/bin/sh", "-c", f"ls -l {site.files}/plain; cat {site.files}/plain/two.txt {site.files}/plain/able; id -u"]
    able = site.write("plain/able", "x", 0o755)
    os.setxattr(able, "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    jail = account.home / "jail"
    account.learn(jail, *words)
    theirs = json.loads(Path(f"{jail}.json").read_text("utf-8"))
    done = tracejail("learn", "--engine", "seccomp", "-j", str(site.jail), *words)
    assert done.returncode == 0, done.stderr
    ours = json.loads(Path(f"{site.jail}.json").read_text("utf-8"))
    for manifest in (ours, theirs):
        del manifest["jail"]
    assert theirs == ours
    by_path = {entry["path"]: entry for entry in theirs["entries"]}
    assert by_path[f"{site.files}/plain/two.txt"]["uid"] == 33
    assert by_path[str(able)]["xattrs"]
    assert os.stat(f"{jail}{able}").st_uid == USER
    assert not os.listxattr(f"{jail}{able}")
    assert os.stat(f"{jail}/dev/null").st_size == 0


DAEMONS = [row for row in test_daemons.ROWS if row.name in ("nginx", "redis", "http.server")]
# Its `user` line takes what a single user has not: see test_nginx_as_its_user.
_ROOT_ONLY = ("nginx",)


def _exercise(account: Account, site: Site, row: test_daemons.Row) -> str:
    script, wanted = account.home / "client", account.home / "expected"
    script.write_text(site.fill(row.client), "utf-8")
    wanted.write_text(row.expected, "utf-8")
    return f"sh {script} >said 2>&1; cmp said {wanted} || {{ cat said; exit 1; }}"


@pytest.mark.parametrize("row", DAEMONS, ids=lambda row: row.name)
def test_daemon(site: Site, account: Account, row: test_daemons.Row) -> None:
    fresh(site, row.prepare)
    words = site.fill_all(row.words)
    jail = account.home / "jail"
    manifest = account.learn(jail, *site.fill_all(row.options), "--exercise", _exercise(account, site, row), *words)
    told = [note for note in manifest["notes"] if "only as it was told" in note]
    assert bool(told) == (row.name == "nginx")
    verified = account.tracejail("verify", f"{jail}.json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    if row.name not in _ROOT_ONLY:
        _serves(site, row, [*PLAIN, *user_jailed(jail, manifest, words, network=True)], jail)
        fresh(site, row.prepare)
    root_build(site, jail)
    _serves(site, row, jailed(site, manifest, words, network=True), site.jail)


def test_nginx_as_its_user(site: Site, account: Account) -> None:
    """As the very user who learns it, and started with the line of the report."""
    row = next(row for row in DAEMONS if row.name == "nginx")
    fresh(site, row.prepare)
    words = site.fill_all(row.words)
    jail = account.home / "jail"
    exercise = _exercise(account, site, row)
    options = ["-u", str(USER), *site.fill_all(row.options), "--exercise", exercise]
    done = account.tracejail("learn", "-j", str(jail), *options, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "only as it was told" not in done.stdout
    line = done.stdout.partition("start it with:\n")[2].strip()
    script = f"ip link set lo up; exec {line}"
    _serves(site, row, [*PLAIN, "unshare", "--map-root-user", "--net", "sh", "-c", script], jail)


def _serves(site: Site, row: test_daemons.Row, command: list[str], at: Path) -> None:
    log = site.top / "log"
    with process(command, log) as daemon:
        def in_its_network(words: str) -> Result:
            return subprocess.run(
                ["nsenter", f"--net=/proc/{daemon.pid}/ns/net", "/bin/sh", "-c", words], cwd="/", timeout=60, check=False,
                env={**ENVIRONMENT, "TRACEJAIL_ROOT": str(at)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )

        until(lambda: in_its_network(row.ready).returncode == 0 or daemon.poll() is not None, f"{row.name} serves")
        done = in_its_network(site.fill(row.client))
        assert done.stdout == row.expected, done.stderr + log.read_text("utf-8", "replace")
