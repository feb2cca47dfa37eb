"""`tracejail run` with namespaces of its own, with filters of calls and of files, and as a manifest says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.tool import COMMAND, tracejail

from .place import TOOLS, built, run, shell

_DAEMON = ("-u", "daemon", "--isolate")


@pytest.fixture(scope="module")
def jail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static programs, and a directory that all may write to."""
    return built(tmp_path_factory.mktemp("isolated") / "jail", "standing", "escape")


def dash(script: str) -> tuple[str, ...]:
    return "/bin/dash", "-c", script


def test_all_is_read_only_but_what_is_written(jail: Path) -> None:
    script = (
        "echo x > /new; echo x > /work/new && cat /work/new; cp /bin/cat /work/cat && /work/cat /work/new;"
        "echo lost > /dev/null && echo null;"
        "ls /proc/self/status; cat /proc/net/dev | grep -c :"
    )
    words = (*_DAEMON, "--writable", "/work", "--mount", "proc", "--net", "private", *dash(script))
    done = run(jail, TOOLS, *words)
    said = done.out.splitlines()
    assert said[:2] == ["x", "null"], done       # /new could not be made, the copy in /work not be executed
    assert "Read-only file system" in done.err
    assert "Permission denied" in done.err
    assert said[-2:] == ["/proc/self/status", "1"], done


@pytest.mark.parametrize("more", [(), ("--own-processes",), ("--net", "private", "--mount", "proc")])
def test_no_way_out(jail: Path, more: tuple[str, ...]) -> None:
    """Not even to a process of the same user, or to a name that stands in no file system."""
    other = subprocess.Popen(["sleep", "60"], user=1, group=1, extra_groups=())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(f"\0tracejail-test-{os.getpid()}")
        listening.listen()
        words = ("/escape", str(other.pid), "etc/passwd", f"tracejail-test-{os.getpid()}")
        before = "mkdir -p /mnt/jail/proc; exec 7</ 8</etc; "
        try:
            done = run(jail, before, *_DAEMON, "--writable", "/work", "--chdir", "/work", *more, *words)
        finally:
            other.kill()
            other.wait()
    lines = done.out.splitlines()
    assert len(lines) == 12, done
    assert [line for line in lines if not line.endswith(" held")] == []


def test_a_written_place_that_became_a_link(jail: Path) -> None:
    """It is where it leads to in the jail, and never outside."""
    before = f"{TOOLS} mkdir /mnt/out; chmod 777 /mnt/out; mkdir /mnt/jail/mnt; ln -s /mnt/out /mnt/jail/work/here; "
    done = run(jail, before, *_DAEMON, "--writable", "/work/here", *dash("echo x > /work/here/x && echo written"))
    assert done.status == 125
    assert "/work/here, to be written: is not in the jail" in done.err


def test_its_own_processes(jail: Path) -> None:
    """It sees itself and the first one, and what it leaves is waited for."""
    script = "ls -d /proc/[0-9]* | grep -c .; (sleep 0.3; echo later) & exit 7"
    done = run(jail, TOOLS, *_DAEMON, "--own-processes", "--mount", "proc", *dash(script))
    lines = done.out.splitlines()
    assert int(lines[0]) <= 5, done     # the first process, dash, ls, grep, a subshell
    assert lines[1:] == ["later"]
    assert done.status == 7
    assert run(jail, TOOLS, *_DAEMON, "--own-processes", *dash("kill -9 $$")).status == 128 + 9
    assert run(jail, TOOLS, *_DAEMON, "--own-processes", "/lost").status == 127
    poor = run(jail, "printf x > /mnt/jail/bad; chmod 755 /mnt/jail/bad; ", *_DAEMON, "--own-processes", "/bad")
    assert (poor.status, "Traceback" in poor.err) == (126, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals_reach_its_own_processes(jail: Path, tmp_path: Path, number: signal.Signals) -> None:
    """They are passed on; and where tracejail is killed nothing is left."""
    said = tmp_path / "said"
    script = "trap 'echo TERM; exit 3' TERM; trap 'echo HUP; exit 4' HUP; echo ready; while :; do sleep 0.05; done"
    words = [*COMMAND, "run", "-j", "/mnt/jail", *_DAEMON, "--own-processes", *dash(script)]
    place = f'set -e; mount -t tmpfs -o mode=755 tmpfs /mnt; mkdir /mnt/jail; cp -a "$0"/. /mnt/jail; {TOOLS} exec "$@"'
    with said.open("wb") as out:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", place, jail, *words], stdout=out, cwd="/")
        end = time.monotonic() + 20
        while said.read_text() != "ready\n" and time.monotonic() < end:
            time.sleep(0.02)
        below = _below(process.pid)
        process.send_signal(number)
        status = process.wait(20)
    expected = {signal.SIGTERM: (3, "TERM"), signal.SIGHUP: (4, "HUP")}.get(number)
    assert len(below) >= 2
    if expected:
        assert (status, said.read_text().split()[1:]) == (expected[0], [expected[1]])
    end = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{each}") for each in below) and time.monotonic() < end:
        time.sleep(0.02)
    assert [each for each in below if os.path.exists(f"/proc/{each}")] == []


def _below(process: int) -> list[int]:
    found = []
    for word in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        found += [int(word), *_below(int(word))]
    return found


def _profile(path: Path, *names: str, action: str = "SCMP_ACT_ERRNO") -> Path:
    """A profile in which calls of these names are refused, and all others are not."""
    rule = {"names": names, "action": action, "errnoRet": 95}
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    return path


def test_a_profile_of_system_calls(jail: Path, tmp_path: Path) -> None:
    profile = _profile(tmp_path / "profile", "mkdir", "mkdirat")
    words = ("-u", "daemon", "--seccomp", str(profile))
    done = run(jail, TOOLS, *words, *dash("mkdir /work/new; echo on"))
    assert "Operation not supported" in done.err
    assert done.out == "on\n"
    deadly = _profile(tmp_path / "deadly", "getppid", action="SCMP_ACT_KILL_PROCESS")
    assert run(jail, TOOLS, "-u", "daemon", "--seccomp", str(deadly), *dash("echo $PPID")).status == -signal.SIGSYS


@pytest.mark.parametrize(("text", "says"), [
    ("", "is no seccomp profile"),
    ("abc", "neither a profile in JSON nor a filter"),
    ("{", "Expecting"),
    ('{"defaultAction": "SCMP_ACT_MAYBE"}', "SCMP_ACT_MAYBE"),
    ('{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["dup"], "action": "SCMP_ACT_KILL", "args": [1]}]}', "conditions"),
])
def test_what_is_no_profile(jail: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "profile").write_text(text)
    done = run(jail, "", "-u", "daemon", "--seccomp", str(tmp_path / "profile"), "/standing")
    assert done.status == 125
    assert says in done.err
    assert "Traceback" not in done.err


def test_a_manifest_says_it_all(tmp_path: Path) -> None:
    """User, mounts, places that are written, names of the environment; with a profile of the calls that were seen, and with
    rules for the files that were used."""
    script = 'read word < /proc/self/comm; echo "$word"; echo "$GREETING" > /tmp/said; cat /tmp/said'
    options = ("-j", "here.jail", "-u", "daemon", "--syscalls", "--mount", "proc", "-E", "GREETING=hello")
    learned = tracejail("learn", *options, "/bin/dash", "-c", script, cwd=tmp_path)
    assert learned.status == 0, learned
    manifest = tmp_path / "here.jail.json"
    profile = tracejail("export", "seccomp", manifest, cwd=tmp_path).out
    (tmp_path / "profile").write_text(profile)
    words = ("run", "-m", str(manifest), "-j", "/mnt/jail")
    for more in ((), ("--isolate",), ("--landlock",), ("--seccomp", str(tmp_path / "profile")),
                 ("--isolate", "--own-processes", "--landlock", "--seccomp", str(tmp_path / "profile"))):
        done = shell(tmp_path / "here.jail", 'exec "$@"', *COMMAND, *words, *more, env={"GREETING": "hello"})
        assert (done.status, done.out) == (0, "dash\nhello\n"), (more, done)
        assert "landlock" not in done.err


def test_files_that_the_manifest_has_not(tmp_path: Path) -> None:
    """Landlock keeps it from what was put into the jail later, and from writing to what it read."""
    script = "cat /etc/hostname; cat /etc/planted; echo x >> /etc/hostname"
    words = ("learn", "-j", "here.jail", "-u", "daemon", "--expect", "2", "/bin/dash", "-c", script)
    assert tracejail(*words, cwd=tmp_path).status == 0
    plant = "echo secret > /mnt/jail/etc/planted; chmod 666 /mnt/jail/etc/hostname; "
    words = (*COMMAND, "run", "-m", str(tmp_path / "here.jail.json"), "-j", "/mnt/jail")
    free = shell(tmp_path / "here.jail", f'{plant}exec "$@"', *words)
    kept = shell(tmp_path / "here.jail", f'{plant}exec "$@"', *words, "--landlock")
    assert "secret" in free.out
    assert "secret" not in kept.out
    assert kept.err.count("ermission denied") == 2, kept


def test_one_that_was_learned_as_root(tmp_path: Path) -> None:
    """It is not started as root unasked, and then with no more than it was seen to take."""
    script = "import os; os.setgid(1); os.setuid(1); print(open('/proc/self/status').read())"
    learned = tracejail("learn", "-j", "here.jail", "/usr/bin/python3", "-c", script, cwd=tmp_path)
    assert learned.status == 0, learned
    words = (*COMMAND, "run", "-m", str(tmp_path / "here.jail.json"), "-j", "/mnt/jail")
    refused = shell(tmp_path / "here.jail", 'exec "$@"', *words)
    assert refused.status == 125
    assert "kill setgid setuid" in refused.err
    done = shell(tmp_path / "here.jail", 'exec "$@"', *words, "--allow-root")
    assert done.status == 0, done
    bounding = next(line.split()[1] for line in done.out.splitlines() if line.startswith("CapBnd"))
    assert int(bounding, 16) == 1 << 5 | 1 << 6 | 1 << 7      # kill, setgid, setuid


def test_capabilities_of_a_trial(tmp_path: Path) -> None:
    """A user may listen on a port of root's where it is given that power, and its jail is run with it."""
    script = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 81)); print('bound')"
    words = ("learn", "-j", "here.jail", "-u", "daemon")
    assert tracejail(*words, "/usr/bin/python3", "-c", script, cwd=tmp_path).status != 0
    learned = tracejail(*words, "--replace", "--keep-cap", "net_bind_service", "/usr/bin/python3", "-c", script, cwd=tmp_path)
    assert learned.status == 0, learned
    assert tracejail("verify", "here.jail.json", cwd=tmp_path).status == 0
    own = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    words = (*own, *COMMAND, "run", "-m", str(tmp_path / "here.jail.json"), "-j", "/mnt/jail")
    done = shell(tmp_path / "here.jail", 'exec "$@"', *words)
    assert (done.status, done.out) == (0, "bound\n"), done
    poor = tracejail("learn", "-j", "x.jail", "--keep-cap", "sys_module", "/bin/true", cwd=tmp_path)
    assert poor.status == 2
    assert "no trial gives it" in poor.err
