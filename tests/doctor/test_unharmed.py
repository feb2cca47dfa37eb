"""doctor --pid: what becomes of the daemon and of doctor, whoever ends first; and what is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.doctor.daemons import answer, causes, doctor, perl, running
from tests.doctor.jails import empty_jail, put, script
from tests.tool import Done, processes, tracejail, tracers, two_lines, until, watching

_PLAIN = {"LC_ALL": "C"}


@pytest.mark.parametrize("number", (signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
def test_doctor_is_told_to_end(number: signal.Signals) -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with perl(jail, "-e '/etc/debian_version'") as (process, port):
            words = ("doctor", "--pid", str(process), "--timeout", "60", "--exercise", "sleep 7531")
            with watching(process, *words, env=_PLAIN) as watcher:
                assert answer(port) == "alive\n"
                watcher.send_signal(number)
                out, err = watcher.communicate(timeout=20)
            assert b"Traceback" not in err
            assert watcher.returncode == (-9 if number == signal.SIGKILL else 0)
            assert (b"/etc/debian_version is not in the jail" in out) == (number != signal.SIGKILL)
            assert (b"had not ended" in out) == (number != signal.SIGKILL)
            until(lambda: tracers(process) == {"0"})
            assert answer(port) == "alive\n"
            until(lambda: not processes("sleep\0" + "7531"))


def test_one_that_ends() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with perl(jail, "open(F, '/etc/hosts') or $n++ and exit 3") as (process, _):
            said = doctor(process, "--reload", "HUP", seconds="20")
            assert said["ended"] == "exited with status 3 while it was watched"
            assert said["findings"][0]["path"] == "/etc/hosts"
            assert said["findings"][0]["confidence"] == "likely"
            assert said["status"] == 1
        with perl(jail, "$n++ and exit 3") as (process, _):
            assert doctor(process, "--reload", "HUP", seconds="20")["status"] == 3


def test_one_that_is_stopped() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with perl(jail) as (process, port):
            os.kill(process, signal.SIGSTOP)
            until(lambda: "State:\tT" in Path(f"/proc/{process}/status").read_text())
            assert causes(doctor(process)) == []
            assert "State:\tT" in Path(f"/proc/{process}/status").read_text()
            os.kill(process, signal.SIGCONT)
            assert answer(port) == "alive\n"


def test_an_exercise_that_fails() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with perl(jail) as (process, port):
            words = ("--timeout", "1.5", "--exercise", "echo sorry; false")
            told = tracejail("doctor", "--pid", str(process), *words, cwd=Path("/"))
            assert told.out.startswith("IT RUNS, BUT: the exercise 'echo sorry; false' failed with status 1")
            assert "sorry" in told.out
            assert told.status == 3
            assert answer(port) == "alive\n"


def test_much_that_is_lacking_is_bounded_and_escaped() -> None:
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        names = [str(path) for path in Path("/usr/share").rglob("*") if path.is_file()][:3000]
        script(jail, "/list", "\n".join(names), 0o644)
        does = "open(F, '/list'); while (<F>) { chomp; -e }; mkdir qq(/no/\\x1b[31mred/x)"
        with perl(jail, does) as (process, port):
            ask = ("--exercise", f"curl -sf --noproxy '*' http://127.0.0.1:{port}/")
            assert len(doctor(process, *ask, seconds="4")["findings"]) > 10
            told = tracejail("doctor", "-v", "--pid", str(process), "--timeout", "4", *ask, cwd=Path("/"))
            assert len(told.out.encode()) + len(told.err.encode()) < 65536
            assert "\x1b" not in told.out
            assert "red" in told.out


# --- refusals ------------------------------------------------------------------------------------------------------


def _refused(process: int | str, word: str, *words: str, status: int = 2) -> Done:
    done = tracejail("doctor", "--pid", str(process), *words, cwd=Path("/"))
    assert done.status == status
    assert word in done.err
    two_lines(done)
    return done


def test_refusals() -> None:
    _refused(2**22, "No such process")
    _refused(2, "part of the kernel")
    _refused(os.getpid(), "has started this tracejail")
    with running("sleep", "60") as outside:
        _refused(outside.pid, "is not in a jail")
    with empty_jail() as jail:
        put(jail, "/usr/bin/perl")
        with perl(jail) as (process, _):
            _refused(process, "does not catch SIGUSR1", "--reload", "USR1")
            _refused(process, "not a signal", "--reload", "NONSENSE")
            with watching(process, "doctor", "--pid", str(process), "--timeout", "60"):
                _refused(process, "is traced already, by process")
        script(jail, "/w", "sleep 60", 0o644)
        with running("sh", "-c", f"chroot {jail} /usr/bin/perl -e 'sleep 60' & wait") as master:
            children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
            until(lambda: children.read_text() and os.readlink(f"/proc/{children.read_text().strip()}/root") == str(jail))
            worker = children.read_text().strip()
            assert f"--pid {worker}" in _refused(master.pid, "is not in a jail").err


@pytest.mark.parametrize("words", [
    ["--pid", "1.5"], ["--pid", "0"], ["--pid", "7", "prog"], ["--pid", "7", "-j", "/tmp"], ["--pid", "7", "-u", "root"],
    ["--pid", "7", "--fix"], ["--pid", "7", "-E", "A=b"], ["--pid", "7", "--static", "--reload", "HUP"], ["--pid"],
    ["--pid", "7", "--mount", "proc"],
])
def test_usage(words: list[str]) -> None:
    done = tracejail("doctor", *words)
    assert done.status == 2
    two_lines(done)
