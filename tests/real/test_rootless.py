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
# Without root its user is shown as root, and so are all owners.
_SHOWS_ROOT = ("ls -l", "id", "busybox")
ROWS = [row for row in test_programs.ROWS if row.name in PROGRAMS]


def fresh(site: Site, prepare: Callable[[Site], object] | None) -> None:
    site.fresh(prepare)  # type: ignore[arg-type]
    give(site.files)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_program(site: Site, account: Account, row: test_programs.Row) -> None:
    fresh(site, row.prepare)
    words = site.fill_all(row.words)
    by_root = call(words)
    fresh(site, row.prepare)
    by_user = account.call(*words)
    fresh(site, row.prepare)
    jail = account.home / "jail"
    manifest = account.learn(jail, *row.options, *words)
    assert by_user.returncode == row.status, by_user.stderr

    mine = account.call(*user_jailed(jail, manifest, words))
    wanted = by_root.stdout if row.name in _SHOWS_ROOT else by_user.stdout
    if row.name == "ls -l":
        wanted = " ".join(wanted.split()).replace("12345 12345", "root root").replace("www-data www-data", "root root")
        assert mine.stdout.split() == wanted.split(), mine.stderr
    else:
        assert (mine.stdout, mine.returncode) == (wanted, row.status), mine.stderr

    fresh(site, row.prepare)
    root_build(site, jail)
    rooted = call(jailed(site, manifest, words))
    assert (rooted.stdout, rooted.returncode) == (by_root.stdout, by_root.returncode), rooted.stderr


def test_the_manifest_is_that_of_root(site: Site, account: Account) -> None:
    """All but the place of the jail: owners, modes, file capabilities."""
    fresh(site, test_programs._plain_files)
    site.write("plain/setuid", "x", 0o4755)
    words = ["/bin/sh", "-c", f"cat {site.files}/plain/two.txt {site.files}/plain/able {site.files}/plain/setuid; id -u"]
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


def test_a_root_that_lacks_something(site: Site) -> None:
    """As in a container: what it lacks has a name."""
    for name in ("sys_ptrace", "sys_chroot", "setuid", "net_admin"):
        words = ["setpriv", f"--bounding-set=-{name}", f"--inh-caps=-{name}", sys.executable, "-m", "tracejail", "learn"]
        done = subprocess.run(
            [*words, "-j", str(site.jail), "/bin/true"], cwd="/", env={**ENVIRONMENT, "PYTHONPATH": str(TOP)},
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 6 and f"CAP_{name.upper()}" in done.stderr and len(done.stderr.splitlines()) == 2


def test_it_gives_up_its_groups_too(account: Account) -> None:
    words = ("/usr/bin/setpriv", "--clear-groups", "--reuid", "33", "--regid", "33", "/bin/true")
    made = account.learn(account.home / "jail", *words)
    assert any("/usr/bin/setpriv gave up root only as it was told" in note for note in made["notes"])


def test_a_daemon_that_goes_into_the_background_is_started_by_the_line(site: Site, account: Account) -> None:
    words = ("/usr/bin/redis-server", "--port", "7399", "--daemonize", "yes", "--save", "")
    done = account.tracejail("learn", "-j", str(account.home / "jail"), "--exercise", "redis-cli -p 7399 ping", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    line = done.stdout.partition("start it with:\n")[2].strip()
    command = [*PLAIN, "unshare", "--map-root-user", "--net", "sh", "-c", f"ip link set lo up; exec {line}"]
    with process(command, site.top / "log") as daemon:
        ask = ["nsenter", f"--net=/proc/{daemon.pid}/ns/net", "redis-cli", "-p", "7399", "ping"]
        until(lambda: call(ask).stdout == "PONG\n", "redis serves")


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


# --- what a user may not ----------------------------------------------------------------------------------------------


def test_what_the_user_may_not_read_is_denied(site: Site, account: Account) -> None:
    site.fresh(None)
    site.write("secret", "for root\n", 0o600)
    site.write("closed/inner", "for root\n")
    (site.files / "closed").chmod(0o700)
    words = ["/bin/cat", f"{site.files}/secret", f"{site.files}/closed/inner"]
    done = account.tracejail("learn", "-j", str(account.home / "jail"), *words)
    assert done.returncode == 4, done.stdout + done.stderr
    assert f"{site.files}/secret, asked for by /usr/bin/cat" in done.stdout
    assert f"{site.files}/closed/inner, asked for by /usr/bin/cat" in done.stdout
    assert "learn it as root" in done.stdout
    assert "--allow" not in done.stdout


def test_a_directory_without_names_for_the_user(site: Site, account: Account) -> None:
    site.fresh(None)
    site.write("closed/inner", "by its name\n")
    (site.files / "closed").chmod(0o711)
    words = ["/bin/sh", "-c", f"cat {site.files}/closed/inner; echo {site.files}/closed/*"]
    done = account.tracejail("learn", "-j", str(account.home / "jail"), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{site.files}/closed: this user may not read its names" in done.stdout


def _two_lines(done: Result, *words: str) -> None:
    assert done.returncode == 6, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(word in lines[0] for word in words), lines
    assert lines[1].startswith("  as root: sysctl") or "call it" in lines[1]


def test_user_namespaces_that_are_used_up(site: Site, account: Account) -> None:
    """The setting is one of each user namespace: a namespace whose root has set it to 0 is such a machine."""
    script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    less = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--securebits=+noroot")
    poor = Account(account.code, account.home, (*PLAIN, "unshare", "--map-root-user", "sh", "-c", script, "sh", *less))
    (account.home / "bin").mkdir()
    shutil.copy("/bin/true", account.home / "bin/true")
    for words in (("learn", "/bin/true"), ("trace", "-j", str(account.home), "/bin/true")):
        _two_lines(poor.tracejail(*words), "user.max_user_namespaces is 0")
    found = poor.tracejail("doctor", "--self")
    assert found.returncode == 6, found.stderr
    assert "user.max_user_namespaces is 0" in found.stdout
    assert sorted(os.listdir(account.home)) == ["bin"]


def test_user_namespaces_behind_a_seccomp_filter(site: Site, account: Account) -> None:
    script = account.home / "filtered.py"
    script.write_text(
        "import os, sys\nfrom tracejail.kernel import seccomp\nfrom tracejail.kernel.ptrace import X86_64\n"
        "rules = {X86_64: {272: seccomp.Refuse(1)}}\nseccomp.install(seccomp.pack(seccomp.assemble(rules)), False)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n", "utf-8",
    )
    done = account.call(PYTHON, str(script), "-m", "tracejail", "learn", "/bin/true")
    _two_lines(done, "a seccomp filter")


# --- around it --------------------------------------------------------------------------------------------------------


def test_build_trace_and_replace(site: Site, account: Account) -> None:
    site.fresh(None)
    text = site.write("sealed/text", "text\n", 0o444)
    (site.files / "sealed").chmod(0o555)
    jail = account.home / "jail"
    account.learn(jail, "/bin/cat", str(text))
    assert oct((Path(f"{jail}{site.files}/sealed")).stat().st_mode & 0o777) == "0o555"
    again = account.tracejail("build", f"{jail}.json", "-j", str(account.home / "other"))
    assert again.returncode == 0, again.stderr
    assert Path(f"{account.home}/other{text}").read_text("utf-8") == "text\n"
    traced = account.tracejail("trace", "-j", str(jail), "-m", "/bin/cat", str(text), "/none")
    assert traced.returncode == 1
    assert "/none" in traced.stderr
    assert traced.stdout == "text\n"
    hosted = account.tracejail("trace", "-m", "/bin/cat", str(text), "/none")
    assert (hosted.returncode, hosted.stdout) == (1, "text\n")
    # A directory that its owner may not write into is removed all the same.
    replaced = account.tracejail("learn", "--replace", "-j", str(jail), "/bin/cat", str(text))
    assert replaced.returncode == 0, replaced.stderr
    rebuilt = account.tracejail("build", f"{jail}.json", "--replace")
    assert rebuilt.returncode == 0, rebuilt.stderr
    names = sorted(os.listdir(account.home))
    assert names == ["jail", "jail.json", "other"]


def test_devices_and_mounts(site: Site, account: Account) -> None:
    words = [
        "/bin/sh", "-c",
        "head -c 3 /dev/zero | od -An -tx1; echo lost >/dev/null; test -c /dev/null; cat /proc/self/comm; "
        "test -c /dev/ptmx; test -d /sys/kernel; script -qc 'tty' /dev/null",
    ]
    jail = account.home / "jail"
    mounts = [word for name in ("proc", "sys", "devpts") for word in ("--mount", name)]
    manifest = account.learn(jail, *mounts, *words)
    assert {mount["type"] for mount in manifest["mounts"]} == {"proc", "sysfs", "devpts"}
    assert {entry["path"] for entry in manifest["entries"] if entry["type"] == "char"} >= {"/dev/null", "/dev/ptmx"}


_HOSTILE = """
import ctypes, os
libc = ctypes.CDLL(None)
assert libc.ptrace(0x4206, 1, 0, 0) == -1, "it could trace the trial's init"
for path in ("/proc/1/mem", "/proc/1/root", "/proc/1/ns/mnt", "/proc/1/environ"):
    try:
        os.open(path, os.O_RDONLY)
    except PermissionError:
        continue
    raise SystemExit(path)
assert libc.mount(b"t", b"/tmp", b"tmpfs", 0, None) == -1
assert libc.unshare(0x20000) == -1
"""


def test_the_init_is_out_of_reach(site: Site, account: Account) -> None:
    """It is of the same user as the target, and must not be its way out of being watched."""
    account.learn(account.home / "jail", "--mount", "proc", PYTHON, "-c", _HOSTILE)


def test_a_jail_that_root_built(site: Site, account: Account) -> None:
    account.learn(account.home / "jail", "/bin/sh", "-c", "echo >/dev/null")
    root_build(site, account.home / "jail")
    done = account.tracejail("verify", f"{account.home}/jail.json", "-j", str(site.jail))
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_leaves_nothing(site: Site, account: Account) -> None:
    """Killed or not: no process of the user, no mount, no litter."""
    account.learn(account.home / "jail", "/bin/true")
    words = [*PLAIN, PYTHON, "-m", "tracejail", "learn", "/bin/sleep", "1000"]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(account.code)}
    running = subprocess.Popen(words, cwd=account.home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(_processes_of(account)) > 3, "the target runs")
    running.kill()
    running.wait(10)
    until(lambda: not _processes_of(account), "all gone")
    assert sorted(os.listdir(account.home)) == ["jail", "jail.json"]


def _processes_of(account: Account) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == USER and os.readlink(entry / "exe"):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_with_subordinate_ids(site: Site, account: Account) -> None:
    """The machine's files are as they were: the lines are bound over them in a mount namespace of the test."""
    site.fresh(None)
    accounts = site.top / "passwd"
    accounts.write_text(Path("/etc/passwd").read_text("utf-8") + f"plain:x:{USER}:{USER}::{account.home}:/bin/sh\n", "utf-8")
    ids = site.top / "ids"
    ids.write_text("plain:200000:65536\n", "ascii")
    binds = f"mount --bind {accounts} /etc/passwd; mount --bind {ids} /etc/subuid; mount --bind {ids} /etc/subgid"
    became = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all",
              "env", f"PATH={os.environ['PATH']}")
    rich = Account(account.code, account.home, (
        "unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{binds}; exec "$@"', "sh", *became,
    ))
    program = (
        "import os\nos.mkdir('/srv/w', 0o700)\nos.chown('/srv/w', 33, 33)\nos.setgroups([33])\nos.setgid(33)\nos.setuid(33)\n"
        "open('/srv/w/x', 'w').close()\nassert os.getuid() == 33 and os.getgroups() == [33] and os.stat('/').st_uid == 0\n"
        "try:\n  os.setuid(0)\nexcept PermissionError:\n  print('for good')\n"
    )
    manifest = rich.learn(account.home / "jail", PYTHON, "-c", program)
    assert manifest["notes"] == []
    assert {os.lstat(Path(top) / name).st_uid for top, _, names in os.walk(account.home) for name in names} == {USER}
    as_user = rich.tracejail("learn", "-j", str(account.home / "two"), "-u", "www-data", "/bin/sh", "-c", "test $(id -u) = 33")
    assert as_user.returncode == 0, as_user.stdout + as_user.stderr
