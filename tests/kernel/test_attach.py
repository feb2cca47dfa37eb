"""learn --attach: a process that runs already is watched, and notices nothing of it, whatever becomes of the watcher."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tool import COMMAND, Done, processes, tracejail, tracers, two_lines, until, watching

SOURCES = Path(__file__).parent / "attached"
KILLS = 50


def build(name: str, directory: Path, *options: str) -> Path:
    program = directory / name
    subprocess.run(
        ["gcc", "-O1", "-Wall", "-Wno-return-type", "-pthread", "-o", program, SOURCES / f"{name}.c", *options], check=True
    )
    return program


class Tracee:
    """A program that runs, and says lines."""

    def __init__(self, *words: str | Path, cwd: Path) -> None:
        self.out = cwd / "said"
        with self.out.open("w") as stream:
            self.process = subprocess.Popen(list(map(str, words)), cwd=cwd, stdout=stream, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        until(lambda: self.said()[:1] == ["ready"])

    def said(self) -> list[str]:
        return self.out.read_text().splitlines()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def tracers(self) -> set[str]:
        return tracers(self.pid)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def running(*words: str | Path, cwd: Path) -> Iterator[Tracee]:
    tracee = Tracee(*words, cwd=cwd)
    try:
        yield tracee
    finally:
        tracee.end()


@contextlib.contextmanager
def attached(tracee: Tracee, *options: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """While the watcher watches."""
    with watching(tracee.pid, "learn", "--attach", str(tracee.pid), *options) as watcher:
        yield watcher


def finish(watcher: subprocess.Popen[bytes], number: int = signal.SIGINT) -> Done:
    watcher.send_signal(number)
    out, err = watcher.communicate(timeout=60)
    assert b"Traceback" not in err, err
    return Done(watcher.returncode, out.decode(), err.decode())


def manifest_of(path: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(path.read_text())
    return made


def paths(manifest: dict[str, Any]) -> set[str]:
    return {entry["path"] for entry in manifest["entries"]}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name in ("config", "of-child", "of-thread", "executed", "spawned", "old", "new"):
        (tmp_path / name).write_text(f"{name}\n")
    return tmp_path


# --- it notices nothing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-m32",)], ids=["x86-64", "i386"])
def test_blocked_calls(work: Path, options: tuple[str, ...]) -> None:
    program = build("blocked", work, *options)
    with running(program, cwd=work) as tracee:
        for _ in range(3):
            with attached(tracee, "-j", work / "jail", "--replace") as watcher:
                for number in (signal.SIGURG, signal.SIGCHLD, signal.SIGWINCH, signal.SIGPIPE, signal.SIGCONT):
                    tracee.signal(number)
                    time.sleep(0.05)
                assert finish(watcher).status == 1
            assert tracee.tracers() == {"0"}
        until(lambda: any(line.startswith("slept") for line in tracee.said()))
        assert tracee.said() == ["ready", "slept 0 right"]
        # A signal that it catches ends the calls that it ends without us, and no others.
        with attached(tracee, "-j", work / "jail", "--replace") as watcher:
            tracee.signal(signal.SIGHUP)
            until(lambda: len(tracee.said()) == 3)
            finish(watcher)
        tracee.signal(signal.SIGUSR2)
        until(lambda: len(tracee.said()) == 4)
        assert sorted(tracee.said()[2:]) == ["epoll_wait EINTR", "sigtimedwait done"]


def test_stops_stay_stops(work: Path) -> None:
    program = build("blocked", work)
    with running(program, cwd=work) as tracee:
        tracee.signal(signal.SIGSTOP)
        until(lambda: tracee.state() == "T")
        with attached(tracee, "-j", work / "jail") as watcher:
            time.sleep(0.2)
            assert tracee.state() in "Tt"
            finish(watcher)
        assert tracee.state() == "T"
        with attached(tracee, "-j", work / "jail", "--replace") as watcher:
            tracee.signal(signal.SIGCONT)
            until(lambda: tracee.state() == "S")
            tracee.signal(signal.SIGSTOP)
            until(lambda: tracee.state() in "Tt")
            watcher.kill()
            watcher.wait(10)
            until(lambda: tracee.tracers() == {"0"})
            assert tracee.state() == "T"
        tracee.signal(signal.SIGCONT)
        until(lambda: tracee.state() == "S")


def test_its_parent_hears_of_its_stops_and_its_end(work: Path) -> None:
    program = build("blocked", work)
    with running(program, cwd=work) as tracee, attached(tracee, "-j", work / "jail") as watcher:
        tracee.signal(signal.SIGSTOP)
        _, status = os.waitpid(tracee.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        tracee.signal(signal.SIGCONT)
        _, status = os.waitpid(tracee.pid, os.WCONTINUED)
        assert os.WIFCONTINUED(status)
        tracee.signal(signal.SIGTERM)
        assert tracee.process.wait(10) == -signal.SIGTERM
        out, _ = watcher.communicate(timeout=60)
        assert watcher.returncode == 1
        assert b"A FIRST GUESS" in out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_busy_one_is_unharmed(work: Path, number: signal.Signals) -> None:
    program = build("busy", work)
    chance = random.Random(int(number))
    sent = 0
    with running(program, work, cwd=work) as tracee:
        rounds = KILLS if number == signal.SIGKILL else 5
        for _ in range(rounds):
            words = [*COMMAND, "learn", "--attach", str(tracee.pid), "-j", str(work / "jail"), "-q", "--replace"]
            watcher = subprocess.Popen(words, stderr=subprocess.PIPE)
            # Some before it is seized, some in the midst of seizing, most while it is watched.
            until(lambda: tracee.tracers() - {"0"} or watcher.poll() is not None)  # noqa: B023
            end = time.monotonic() + chance.uniform(0, 0.25)
            while time.monotonic() < end:
                tracee.signal(signal.SIGRTMIN)
                sent += 1
                time.sleep(0.0005)
            watcher.send_signal(number)
            _, errors = watcher.communicate(timeout=60)
            assert b"Traceback" not in errors
            assert watcher.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 1), errors
            until(lambda: tracee.tracers() == {"0"})
            assert tracee.process.poll() is None
        time.sleep(0.1)
        tracee.signal(signal.SIGTERM)
        assert tracee.process.wait(20) == 0
        words = tracee.said()[-1].split()
        counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        assert counts["wrong"] == 0, tracee.said()
        assert counts["queued"] == sent
        # One that is on its way out with EINTR at the moment of the end can't be helped any more.
        assert counts["interrupted"] <= rounds // 5
        assert min(counts["reads"], counts["children"]) > 20
        assert counts["ticks"]
        assert not processes(str(program))


def test_nobody_waits_for_a_terminal_that_is_held(work: Path) -> None:
    program = build("quiet", work)
    absent = [f"{work}/absent-{number}" for number in range(3000)]
    with running(program, *absent, cwd=work) as tracee, attached(tracee, "-v", "-j", work / "jail") as watcher:
        for times in range(2, 6):
            tracee.signal(signal.SIGUSR1)
            until(lambda: len(tracee.said()) == times)  # noqa: B023
        assert finish(watcher).err.count("absent-") == len(absent)


# The tracer dies at the first stop of a kind, before it lets the thread go on.
DIES = """
import os, signal, sys
from tracejail.kernel import ptrace
from tracejail.kernel.ptrace import StopKind, SyscallEntry
process, kind = int(sys.argv[1]), sys.argv[2]
ptrace.seize_other(process)
ptrace.interrupt(process)
first = True
while True:
    stop = ptrace.wait_stop_gently()
    if stop is None:
        os.sched_yield()
        continue
    at = ptrace.syscall_stop(stop.thread) if stop.kind is StopKind.EXIT else None
    entered = isinstance(at, SyscallEntry) and at.number in (257, 56, 59)
    now = {
        "stop": stop.kind is StopKind.OTHER, "signal": stop.kind is StopKind.SIGNAL, "group": stop.kind is StopKind.GROUP,
        "entry": entered, "exit": isinstance(at, int) and at >= 3 and at < 100,
    }[kind]
    if first:
        print("watches", flush=True)
        first = False
    if now:
        os.kill(os.getpid(), signal.SIGKILL)
    if stop.kind is StopKind.GROUP:
        ptrace.listen(stop.thread)
    else:
        ptrace.resume(stop.thread, stop.signal, to_exit=True)
"""


@pytest.mark.parametrize("kind", ["stop", "signal", "entry", "exit", "group"])
def test_the_tracer_dies_at_a_stop(work: Path, kind: str) -> None:
    program = build("quiet", work)
    opened = [str(work / "new")] * 3
    with running(program, *opened, cwd=work) as tracee:
        tracer = subprocess.Popen([sys.executable, "-c", DIES, str(tracee.pid), kind], stdout=subprocess.PIPE)
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == b"watches\n"
        if kind == "group":
            tracee.signal(signal.SIGSTOP)
        elif kind != "stop":
            tracee.signal(signal.SIGUSR1)
        assert tracer.wait(10) == -signal.SIGKILL
        tracer.stdout.close()
        until(lambda: tracee.tracers() == {"0"})
        if kind == "group":
            until(lambda: tracee.state() == "T")
            tracee.signal(signal.SIGCONT)
        if kind in ("stop", "group"):
            tracee.signal(signal.SIGUSR1)
        # The signal has come, once, and each open went well.
        until(lambda: len(tracee.said()) == 2)
        time.sleep(0.1)
        assert tracee.said() == ["ready", "done: 3 opened"]


# --- what is seen --------------------------------------------------------------------------------------------------


def test_threads_children_and_what_they_execute(work: Path) -> None:
    program = build("busy", work)
    names = {"busy", "config", "of-child", "of-thread", "executed", "spawned"}
    with running(program, work, cwd=work) as tracee:
        with attached(tracee, "-j", work / "jail") as watcher:
            for name in names:  # a time of last access before that of the last change is set anew (MNT_RELATIME)
                os.utime(work / name, ns=(0, (work / name).stat().st_mtime_ns))
            until(lambda: all((work / name).stat().st_atime_ns for name in names))
            done = finish(watcher)
        assert done.status == 1
    made = manifest_of(work / "jail.json")
    assert {str(work / name) for name in names} <= paths(made)
    assert not {str(work / "log"), str(work / "nowhere")} & paths(made)
    assert {note["path"] for note in made["absent"]} >= {str(work / "nowhere")}
    assert str(work) in {place["path"] for place in made["written"]}
    assert {"/lib64", "/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6"} <= paths(made)
    assert not made["clean"]
    assert any(warning.startswith("a first guess: gathered from") for warning in made["warnings"])
    assert made["command"]["argv"] == [str(program), str(work)]
    assert (work / "jail").is_dir()
    assert "tracejail learn --append" in done.out


def test_what_was_there_before(work: Path) -> None:
    program = build("quiet", work)
    (work / "key").write_text("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n")
    (work / "link").symlink_to("new")
    opened = [*(str(work / name) for name in ("link", "key", "absent")), f"+{work}/run/made"]
    (work / "run").mkdir()
    with running(program, *opened, "/etc/shadow", cwd=work) as tracee, attached(tracee, "-j", work / "jail") as watcher:
        tracee.signal(signal.SIGUSR1)
        until(lambda: len(tracee.said()) == 2)
        finish(watcher)
    made = manifest_of(work / "jail.json")
    held = paths(made)
    assert {str(work / name) for name in ("old", "new", "link", "run", "quiet")} <= held
    # `made` is there by now, and the arguments name what can't be had: neither is copied.
    assert not {str(work / name) for name in ("rotated", "log", "control", "key", "absent", "run/made", "said")} & held
    assert not [path for path in held if "memfd" in path or "nameless" in path or "deleted" in path or ":" in path]
    assert {note["path"] for note in made["denied"]} == {str(work / "key"), "/etc/shadow"}
    assert made["listens"] == ["unix:control"]
    assert {place["path"] for place in made["written"]} >= {str(work), str(work / "run")}
    assert not {"environment", "pid"} & set(made["command"])


def test_a_process_in_a_chroot(work: Path) -> None:
    root = work / "root"
    (root / "data").mkdir(parents=True)
    (root / "data" / "old").write_text("x")
    (root / "data" / "asked").write_text("x")
    program = build("quiet", work, "-static")
    program.rename(root / "quiet")
    script = f"import os; os.chroot({str(root)!r}); os.chdir('/data'); os.execv('/quiet', ['/quiet', 'asked'])"
    words = [sys.executable, "-c", script]
    with running(*words, cwd=work) as tracee, attached(tracee, "-j", work / "jail") as watcher:
        tracee.signal(signal.SIGUSR1)
        until(lambda: len(tracee.said()) == 2)
        finish(watcher)
    made = manifest_of(work / "jail.json")
    assert made["host"]["root"] == str(root)
    assert {"/quiet", "/data", "/data/old", "/data/asked"} <= paths(made)
    assert made["command"] == {"argv": ["/quiet", "asked"], "directory": "/data"}


def test_a_process_with_mounts_of_its_own(work: Path) -> None:
    program = build("quiet", work)
    (work / "private").mkdir()
    (work / "private" / "old").write_text("the host's")
    script = f"mount -t tmpfs none {work}/private; cp {work}/old {work}/private; cd {work}/private; exec {program}"
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script]
    with running(*words, cwd=work) as tracee:
        done = tracejail("learn", "--attach", str(tracee.pid), "--timeout", "0.2", "-j", work / "jail")
    assert done.status == 1, done.err
    assert f"{work}/private/old is not the file that it sees" in done.out
    assert str(program) in paths(manifest_of(work / "jail.json"))


def test_a_process_in_a_container(work: Path) -> None:
    program = build("quiet", work, "-static")
    (work / "container").mkdir()
    script = f"""
        mount -t tmpfs none container
        mkdir container/before
        cp {program} old container/
        cd container
        pivot_root . before
        exec /quiet
    """
    words = ["unshare", "--mount", "--propagation", "private", "bash", "-ec", script]
    with running(*words, cwd=work) as tracee:
        refused = tracejail("learn", "--attach", str(tracee.pid), "--timeout", "0.2", "-j", work / "jail")
        assert refused.status == 2
        assert "as in a container" in refused.err
        two_lines(refused)
        root = work / "files"
        root.mkdir()
        (root / "quiet").write_bytes(program.read_bytes())
        (root / "quiet").chmod(0o755)
        (root / "old").write_text("old\n")
        done = tracejail("learn", "--attach", str(tracee.pid), "--timeout", "0.2", "-j", work / "jail", "--from", root)
        assert done.status == 1, done.err
    assert {"/quiet", "/old"} <= paths(manifest_of(work / "jail.json"))


# --- and then ------------------------------------------------------------------------------------------------------


def test_learning_adds_to_it_and_proves_it(work: Path) -> None:
    program = build("quiet", work)
    with running(program, str(work / "new"), cwd=work) as tracee, attached(tracee, "-j", work / "jail") as watcher:
        tracee.signal(signal.SIGUSR1)
        until(lambda: len(tracee.said()) == 2)
        finish(watcher)
    assert tracejail("verify", work / "jail.json").status != 2
    (work / "new").write_text("changed since\n")
    done = tracejail(
        "learn", "--append", "-j", work / "jail", "--chdir", work, "--stop", "KILL", "--exercise", "true", program, work / "new"
    )
    assert done.status == 0, done.out + done.err
    made = manifest_of(work / "jail.json")
    assert made["clean"]
    assert made["warnings"] == []
    assert {str(work / "old"), str(work / "new")} <= paths(made)
    with running(program, cwd=work) as tracee:
        refused = tracejail("learn", "--attach", str(tracee.pid), "--timeout", "0.1", "-j", work / "jail", "--append")
        assert refused.status == 2
        two_lines(refused)


def test_a_second_look_adds_to_the_first(work: Path) -> None:
    program = build("quiet", work)
    for name in ("config", "new"):
        words = ["--append"] if name == "new" else []
        with running(program, work / name, cwd=work) as tracee, attached(tracee, "-j", work / "jail", *words) as watcher:
            tracee.signal(signal.SIGUSR1)
            until(lambda: len(tracee.said()) == 2)
            finish(watcher)
    assert {str(work / "config"), str(work / "new")} <= paths(manifest_of(work / "jail.json"))


def test_it_ends_at_the_time(work: Path) -> None:
    with running(build("quiet", work), cwd=work) as tracee:
        began = time.monotonic()
        done = tracejail("learn", "--attach", str(tracee.pid), "--timeout", "0.5", "-j", work / "jail", "--json")
        assert 0.5 < time.monotonic() - began < 10
        assert done.status == 1
        assert done.json["clean"] is False
        assert "until the time was over" in done.json["ended"]


# --- refusals ------------------------------------------------------------------------------------------------------


def test_refusals(work: Path) -> None:
    with running(build("blocked", work), cwd=work) as tracee:
        thread = max(int(name) for name in os.listdir(f"/proc/{tracee.pid}/task"))
        for process, word in ((thread, "is a thread of"), (os.getpid(), "has started this tracejail"), (2, "part of the kernel"),
                              (2**22, "No such process")):
            done = tracejail("learn", "--attach", str(process), "-j", work / "jail")
            assert done.status == 2
            assert word in done.err
            two_lines(done)
        with attached(tracee, "-j", work / "jail"):
            done = tracejail("learn", "--attach", str(tracee.pid), "-j", work / "other")
            assert done.status == 2
            assert "is traced already, by process" in done.err
            two_lines(done)
    assert not (work / "jail").exists()


@pytest.mark.parametrize("words", [
    ["--attach", "1.5"], ["--attach", "0"], ["--attach", "7", "prog"], ["--attach", "7", "--exercise", "x"],
    ["--attach", "7", "--engine", "bpf"], ["--attach", "7", "-u", "root"], ["--attach", "7", "--restart"],
    ["--attach", "7", "--net", "host"], ["--attach", "7", "-E", "A=b"], ["--attach"],
])
def test_usage(words: list[str]) -> None:
    done = tracejail("learn", *words)
    assert done.status == 2
    two_lines(done)
