"""Ways out of a jail, and into trouble, that `tracejail run` once left open: each was shown by a stranger."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tool import COMMAND, tracejail

from .place import TOOLS, built, run, shell

_DAEMON = ("-u", "daemon")


@pytest.fixture(scope="module")
def jail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program, and a directory that all may write to."""
    return built(tmp_path_factory.mktemp("mended") / "jail", "standing")


def dash(script: str) -> tuple[str, ...]:
    return "/bin/dash", "-c", script


@pytest.mark.parametrize("more", [("--mount", "proc"), ("--isolate", "--mount", "proc")])
def test_a_working_directory_that_leads_out(jail: Path, more: tuple[str, ...]) -> None:
    """A link of proc's leads to the root of another process, for who may follow it: root may, and the user may not."""
    other = subprocess.Popen(["sleep", "60"])
    try:
        before = f"{TOOLS} ln -s /proc/{other.pid}/root /mnt/jail/work/current; chown -h daemon /mnt/jail/work/current; "
        done = run(jail, before, *_DAEMON, *more, "--chdir", "/work/current", *dash("ls"))
    finally:
        other.kill()
        other.wait()
    assert (done.status, done.out) == (125, ""), done
    assert "/work/current, the working directory in the jail" in done.err


def test_a_working_directory_is_entered_as_the_user(jail: Path) -> None:
    done = run(jail, "mkdir -m 700 /mnt/jail/secret; ", *_DAEMON, "--chdir", "/secret", "/standing")
    assert done.status == 0 or "Permission denied" in done.err   # to be in it is no right to look
    done = run(jail, "mkdir -m 700 -p /mnt/jail/secret/in; ", *_DAEMON, "--chdir", "/secret/in", "/standing")
    assert done.status == 125
    assert "Permission denied" in done.err


@pytest.fixture(scope="module")
def of_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of a program that began as root."""
    place = tmp_path_factory.mktemp("of_root")
    script = "import os; os.setgid(1); os.setuid(1); print(open('/proc/self/status').read())"
    assert tracejail("learn", "-j", "here.jail", "/usr/bin/python3", "-c", script, cwd=place).status == 0
    return place / "here.jail"


def test_a_user_gets_no_powers_of_root(of_root: Path) -> None:
    """What a manifest has for root makes root of any user."""
    words = (*COMMAND, "run", "-m", f"{of_root}.json", "-j", "/mnt/jail")
    show = ("/usr/bin/python3", "-c", "print(open('/proc/self/status').read())")
    done = shell(of_root, 'exec "$@"', *words, "-u", "daemon", *show)
    sets = {line.split()[1] for line in done.out.splitlines() if line.startswith("Cap")}
    assert sets == {"0" * 16}, done
    none = shell(of_root, 'exec "$@"', *words, "--allow-root", "--keep-cap", "none", *show)
    assert {line.split()[1] for line in none.out.splitlines() if line.startswith("Cap")} == {"0" * 16}, none


@pytest.mark.parametrize("more", [("--isolate",), ("--isolate", "--own-processes"), ()])
def test_what_changes_the_kernel_is_read_only(jail: Path, more: tuple[str, ...]) -> None:
    """Root needs no capability to write there."""
    script = "(: >> /proc/sys/kernel/core_pattern) && echo opened; (: >> /proc/1/mem) && echo memory; cat /proc/1/environ"
    words = ("--allow-root", "-u", "root", "--mount", "proc", *more)
    done = run(jail, TOOLS, *words, *dash(script), env={"SECRET": "of the caller"})
    assert "opened" not in done.out
    if "--own-processes" in more:
        assert "memory" not in done.out
        assert "of the caller" not in done.out


def test_a_proc_that_is_mounted_already(jail: Path) -> None:
    """It shows the processes of the machine: another one is mounted over it."""
    before = f"{TOOLS} mount -t proc proc /mnt/jail/proc; "
    done = run(jail, before, *_DAEMON, "--isolate", "--own-processes", "--mount", "proc", *dash("ls -d /proc/[0-9]* | grep -c ."))
    assert int(done.out) <= 4, done


def test_a_mount_beneath_a_written_place(jail: Path) -> None:
    disk = "/mnt/jail/work/disk"
    before = f"{TOOLS} mkdir -p {disk}; mount -t tmpfs tmpfs {disk}; echo rows > {disk}/rows; chmod 777 {disk}; "
    words = (*_DAEMON, "--isolate", "--writable", "/work", *dash("cat /work/disk/rows; echo new > /work/disk/new"))
    done = shell(jail, f'{before}"$@"; cat /mnt/jail/work/disk/new', *COMMAND, "run", "-j", "/mnt/jail", *words)
    assert done.out == "rows\nnew\n", done


def test_what_belongs_to_the_caller_stays_his(tmp_path: Path) -> None:
    script = 'echo "$HOME $PATH $GREETING"'
    given = ("-E", "HOME=/", "-E", "GREETING=a", "-E", "PATH=/bin")
    assert tracejail("learn", "-j", "here.jail", "-u", "daemon", *given, "/bin/dash", "-c", script, cwd=tmp_path).status == 0
    manifest = str(tmp_path / "here.jail.json")
    done = shell(tmp_path / "here.jail", 'exec "$@"', *COMMAND, "run", "-m", manifest, "-j", "/mnt/jail",
                 env={"HOME": "/root/private", "PATH": f"/root/private/bin:{os.environ['PATH']}", "GREETING": "hello"})
    assert done.status == 0
    assert "private" not in done.out
    assert done.out.endswith("hello\n")
    assert "HOME, PATH set, whose values are not known" in done.err


@pytest.mark.parametrize(("before", "words", "says"), [
    ("", ("-j", "/", *_DAEMON, "/bin/true"), "is the root directory of this machine"),
    ("ln -s jail /mnt/link; chown -h nobody /mnt/link; ", ("-j", "/mnt/link", *_DAEMON, "/standing"), "is a link of user 65534"),
    ("cp $M /mnt/m; chmod 666 /mnt/m; ", ("-m", "/mnt/m", "-j", "/mnt/jail", *_DAEMON, "/standing"), "others can write to it"),
    ("cp $M /mnt/m; chown nobody /mnt/m; ", ("-m", "/mnt/m", "-j", "/mnt/jail", *_DAEMON, "/standing"), "belongs to user 65534"),
    ("mkfifo /mnt/m; ", ("-m", "/mnt/m", "-j", "/mnt/jail", *_DAEMON, "/standing"), "is no regular file"),
    ("", ("-j", "/mnt/jail", *_DAEMON, "--chdir", "/é\x1b", "/standing"), "the working directory in the jail"),
    ("", ("-j", "/mnt/jail", "-u", "4294967296", "/standing"), "such a number"),
    ("", ("-j", "/mnt/jail", "-u", "4294967295", "/standing"), "such a number"),
    ("", ("-j", "/mnt/jail", "-u", "²", "/standing"), "no such user"),
    ("", ("-j", "/mnt/jail", *_DAEMON, "--limit", "nproc=99999999999999999999", "/standing"), "no number"),
    ("mkdir /mnt/gone; cd /mnt/gone; rmdir /mnt/gone; ", ("-j", "jail", *_DAEMON, "/standing"), "the working directory is gone"),
    ("", ("-j", "/mnt/jail", *_DAEMON, "--bogus", "/standing"), "no option --bogus"),
    ("", ("-j", "/mnt/jail", *_DAEMON, "--writable", "/work", "/standing"), "add --isolate"),
    ("", ("-j", "/mnt/jail", *_DAEMON, "--isolate", "--writable", "/", "/standing"), "all of the jail"),
    ("ln -s work /mnt/jail/l; ", ("-j", "/mnt/jail", *_DAEMON, "--isolate", "--writable", "/l", "/standing"), "over a link"),
    ("", ("-j", "/mnt/jail", *_DAEMON, "--isolate", "--own-processes", "--limit", "nproc=1", "/standing"), "limit nproc"),
    ("chmod 700 /mnt/jail; ", ("-j", "/mnt/jail", *_DAEMON, "/standing"), "may not enter it"),
])
def test_it_is_refused_in_words(jail: Path, of_root: Path, before: str, words: tuple[str, ...], says: str) -> None:
    done = shell(jail, f'{before}exec "$@"', *COMMAND, "run", *words, env={"M": f"{of_root}.json"})
    assert (done.status, "Traceback" in done.err) in ((125, False), (126, False)), done
    assert says in done.err


@pytest.mark.parametrize("to", ["2>&-", "2>/dev/full", ">&-"])
def test_statuses_that_nobody_can_read(jail: Path, to: str) -> None:
    assert run(jail, f"exec {to}; ", *_DAEMON, "/lost").status == 127


def test_who_is_not_root(jail: Path) -> None:
    done = run(jail, "set -- setpriv --reuid daemon --regid daemon --clear-groups \"$@\"; ", *_DAEMON, "/standing")
    assert done.status in (125, 127)
    assert done.status == 127 or "only root can enter a jail" in done.err


def test_a_profile_without_the_start(jail: Path, tmp_path: Path) -> None:
    path = tmp_path / "profile"
    rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}))
    done = run(jail, "", *_DAEMON, "--seccomp", str(path), "/standing")
    assert done.status == 125
    assert "does not allow execve" in done.err


def _on_a_terminal(jail: Path, script: str, typed: bytes) -> str:
    """What is shown on a terminal on which a shell with job control does this, and something is typed."""
    place = f'mount -t tmpfs -o mode=755 tmpfs /mnt; mkdir /mnt/jail; cp -a "$0"/. /mnt/jail; {TOOLS} set -m; {script}'
    process, terminal = pty.fork()
    if not process:
        os.execvp("unshare", ["unshare", "--mount", "bash", "-c", place, str(jail), *COMMAND, "run", "-j", "/mnt/jail", *_DAEMON])
    shown = b""
    try:
        end, sent = time.monotonic() + 30, False
        while time.monotonic() < end:
            try:
                shown += os.read(terminal, 4096)
            except OSError:   # all who had it have gone
                break
            if b"ready" in shown and not sent:
                os.write(terminal, typed)
                sent = True
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    return shown.decode("utf-8", "replace")


def test_a_job_of_a_shell_leaves_its_terminal(jail: Path) -> None:
    shown = _on_a_terminal(jail, '"$@" /standing', b"")
    assert "session own" in shown
    assert "terminal none" in shown


def test_in_the_background_nothing_is_read_that_is_typed(jail: Path) -> None:
    listens = "/bin/dash -c 'read word; echo \"GOT <$word>\"'"
    shown = _on_a_terminal(jail, f'"$@" {listens} & echo ready; sleep 1.5; wait', b"secret\n")
    assert "GOT <>" in shown
    shown = _on_a_terminal(jail, f'echo ready; "$@" {listens}', b"meant\n")
    assert "GOT <meant>" in shown


def test_a_signal_at_any_moment_ends_it(jail: Path) -> None:
    """It is neither lost, nor does something of the jail live on."""
    place = f'set -e; mount -t tmpfs -o mode=755 tmpfs /mnt; mkdir /mnt/jail; cp -a "$0"/. /mnt/jail; {TOOLS} exec "$@"'
    mark = f"30.{os.getpid()}"
    own = ["unshare", "--mount", "sh", "-c", place, str(jail)]
    words = [*own, *COMMAND, "run", "-j", "/mnt/jail", *_DAEMON, "--isolate", "--own-processes", "/bin/sleep", mark]
    for delay in range(24):
        process = subprocess.Popen(words, cwd="/", stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while not Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip() or _is_shell(process.pid):
            assert time.monotonic() < end
        time.sleep(delay / 400)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (128 + signal.SIGTERM, -signal.SIGTERM)
        end = time.monotonic() + 5
        while (left := _with(mark)) and time.monotonic() < end:
            time.sleep(0.01)
        assert left == []


def _is_shell(process: int) -> bool:
    return b"tracejail" not in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[:4]


def _with(mark: str) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "cmdline").read_bytes().split(b"\0"):
                found.append(place.name)
        except OSError:
            continue
    return found
