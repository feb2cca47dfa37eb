"""How a run goes wrong, or ends: each within its time, with the phase and the cause, what was learned kept, nothing left."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tool import COMMAND, processes, tracejail
from tracejail.cli.report import summary
from tracejail.learn import learn as learn_here
from tracejail.model import Service, Step, TrialOptions
from tracejail.show import Silent

_PYTHON = "/usr/bin/python3"
_HEAD = "import os, signal, socket, sys, time\nopen(sys.argv[1] + '/early').close()\n"
_STOPS = "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
_SERVE = """
s = socket.create_server(('127.0.0.1', 7012), reuse_port=True)
while True:
    peer, _ = s.accept(); peer.sendall(b'ok\\n'); peer.close()
"""
_ASK = "bash -c 'read -r x </dev/tcp/127.0.0.1/7012; test \"$x\" = ok'"
_SLACK = 4.0   # seconds, for a machine that has other things to do


def learn(tmp_path: Path, program: str, *options: str, within: float = 60) -> dict[str, Any]:
    """Learn a Python program: it must come back in time, leave nothing running, and keep what was learned."""
    (tmp_path / "early").touch()
    words = ["learn", "--json", "--replace", "-j", str(tmp_path / "jail"), *options, _PYTHON, "-I", "-S", "-c", _HEAD + program]
    began = time.monotonic()
    result = tracejail(*words, str(tmp_path)).json
    assert time.monotonic() - began < within + _SLACK, result
    assert not processes(str(tmp_path)), processes(str(tmp_path))
    manifest = json.loads((tmp_path / "jail.json").read_text())
    assert str(tmp_path / "early") in [entry["path"] for entry in manifest["entries"]]
    assert (tmp_path / "jail" / str(tmp_path / "early").lstrip("/")).is_file()
    return result


def failed(result: dict[str, Any], phase: str, reason: str, status: int = 1) -> dict[str, Any]:
    assert (result["clean"], result["status"], result["phase"]) == (False, status, phase), result
    assert reason in result["reason"], result["reason"]
    return result


# --- acceptance: never ready, ends at the reload, a hanging exercise, a child left behind -----------------------------


@pytest.mark.parametrize("engine", ["bpf", "seccomp"])
def test_it_never_gets_ready(tmp_path: Path, engine: str) -> None:
    result = learn(
        tmp_path, "while True: time.sleep(0.05)", "--engine", engine, "--timeout", "2", "--exercise", _ASK, within=2 + 2
    )
    failed(result, "start", "time-out after 2 s at the start: it was never ready; it has not called listen(2)", 3)


@pytest.mark.parametrize(("how", "words"), [
    ("os._exit(3)", "exited with status 3"), ("os._exit(0)", "exited with status 0"), ("os.abort()", "was killed by SIGABRT"),
])
def test_it_ends_at_the_reload(tmp_path: Path, how: str, words: str) -> None:
    program = f"signal.signal(signal.SIGHUP, lambda *_: {how})\n" + _SERVE
    result = learn(tmp_path, program, "--reload", "HUP", "--exercise", _ASK, within=3)
    failed(result, "reload", f"at the reload: it {words}")


def test_its_first_process_ends_at_the_reload_and_leaves_another(tmp_path: Path) -> None:
    program = "signal.signal(signal.SIGHUP, lambda *_: os._exit(3))\nif not os.fork():\n    while True: time.sleep(9)\n" + _SERVE
    result = learn(tmp_path, program, "--reload", "HUP", "--exercise", _ASK, within=6)
    failed(result, "reload", "at the reload: its first process exited with status 3, and left 1 process behind")


def test_its_exercise_hangs(tmp_path: Path) -> None:
    options = ["--timeout", "2", "--exercise", _ASK, "--exercise", "echo I wait; sleep 98761 & sleep 98762"]
    result = learn(tmp_path, _STOPS + _SERVE, *options, within=2 + 2)
    failed(result, "exercise", "time-out after 2 s at the exercise: the exercise did not end: echo I wait", 3)
    assert "it listens on 127.0.0.1:7012" in result["reason"]
    assert result["exercise_output"] == ["I wait"]
    assert not processes("98761") and not processes("98762")


def test_it_daemonizes_and_leaves_a_child_behind(tmp_path: Path) -> None:
    """The child does not mind SIGTERM; that costs the grace of each run."""
    program = """
if os.fork(): os._exit(0)
os.setsid()
if not os.fork():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(9)
""" + _STOPS + _SERVE
    result = learn(tmp_path, program, "--grace", "3", "--exercise", _ASK, within=2 * 3 + 4)
    assert result["clean"], result
    note = "it left 1 process behind, not ended within 3 s of SIGTERM and killed"
    assert note in result["notes"], result["notes"]


def test_a_time_out_is_not_paid_for_each_mount(tmp_path: Path) -> None:
    """What asks for /proc and /sys is learned once more with both where it may wait for them, and not at an exercise."""
    asks = "for name in ('/proc/stat', '/sys/kernel/mm'):\n    os.path.exists(name)\n"
    result = learn(tmp_path, asks + _STOPS + _SERVE, "--timeout", "2", "--exercise", "sleep 98772", within=2 + 2)
    assert result["rounds"] == 1, result
    assert "it asked for proc and sys too: with --mount, if that is what it waits for" in result["notes"]
    result = learn(tmp_path, asks + "while True: time.sleep(0.05)", "--timeout", "2", "--exercise", _ASK, within=2 * (2 + 2))
    assert result["rounds"] == 2, result
    waits = "while not all([os.path.exists('/proc/stat'), os.path.exists('/sys/kernel/mm')]): time.sleep(0.1)\n"
    program = waits + _STOPS + _SERVE
    result = learn(tmp_path, program, "--timeout", "2", "--exercise", _ASK, within=12)
    assert result["clean"], result
    assert {mount["type"] for mount in result["mounts"]} == {"proc", "sysfs"}


@pytest.mark.parametrize("needs", [("/sys/kernel/mm",), ("/proc/stat", "/sys/kernel/mm")], ids=["one", "both"])
def test_no_mount_stays_that_did_not_help(tmp_path: Path, needs: tuple[str, ...]) -> None:
    """It asks for /proc and for /sys; the one that it does without is not in the jail."""
    asks = "there = [os.path.exists(path) for path in ('/proc/stat', '/sys/kernel/mm')]\n"
    program = f"{asks}if not all(os.path.exists(path) for path in {needs!r}): sys.exit('not there')\n" + _STOPS + _SERVE
    result = learn(tmp_path, program, "--exercise", _ASK, within=6)
    assert result["clean"], result
    assert {mount["path"] for mount in result["mounts"]} == {f"/{path.split('/')[1]}" for path in needs}
    assert result["rounds"] == (4 if len(needs) == 1 else 5)


def test_addresses_outside_are_one_note(tmp_path: Path) -> None:
    asks = "for port in range(9):\n    try: socket.create_connection(('192.0.2.1', 7000 + port), 1)\n    except OSError: pass\n"
    notes = learn(tmp_path, asks + _STOPS + _SERVE, "--exercise", _ASK, within=4)["notes"]
    expected = "a connect to 192.0.2.1:7000, 192.0.2.1:7001, 192.0.2.1:7002 and 6 more failed: "
    assert [note.startswith(expected) for note in notes if "192.0.2.1" in note] == [True]


# --- the stop ---------------------------------------------------------------------------------------------------------


def test_it_ignores_the_stop_signal(tmp_path: Path) -> None:
    program = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + _SERVE
    result = learn(tmp_path, program, "--exercise", _ASK, within=2 * 10 + 4)
    assert result["clean"], result
    note = "it did not end within 10 s of SIGTERM and was killed (--stop names another signal, --grace another time)"
    assert note in result["notes"]
    assert result["ended"].endswith("was killed by SIGKILL after it was told to stop")
    assert learn(tmp_path, program, "--stop", "INT", "--exercise", _ASK, within=6)["clean"]


def test_it_crashes_when_it_is_told_to_stop(tmp_path: Path) -> None:
    program = "signal.signal(signal.SIGTERM, lambda *_: os.abort())\n" + _SERVE
    failed(learn(tmp_path, program, "--exercise", _ASK, within=4), "stop", "was killed by SIGABRT after it was told to stop")


def test_a_stopped_process_is_stopped_all_the_same(tmp_path: Path) -> None:
    program = _STOPS + "if not os.fork():\n    os.kill(os.getpid(), signal.SIGSTOP); time.sleep(9)\n    os._exit(0)\n" + _SERVE
    assert learn(tmp_path, program, "--exercise", _ASK, within=6)["clean"]


def test_what_an_exercise_leaves_in_the_background_is_ended(tmp_path: Path) -> None:
    """In its session, in one of its own, and orphaned."""
    background = "sleep 98763 & setsid sleep 98764 & (setsid sh -c 'sleep 98765 & sleep 98766' &) ; sleep 0.1; "
    assert learn(tmp_path, _STOPS + _SERVE, "--exercise", background + _ASK, within=6)["clean"]
    for mark in ("98763", "98764", "98765", "98766"):
        assert not processes(mark)


# --- signals ----------------------------------------------------------------------------------------------------------


def test_a_reload_signal_that_nothing_catches(tmp_path: Path) -> None:
    result = learn(tmp_path, _SERVE, "--reload", "HUP", "--exercise", _ASK, within=4)
    failed(result, "reload", "at the reload: nothing of it catches SIGHUP, which would kill it")
    assert result["hint"] == "name the signal that it knows, or none"
    result = learn(tmp_path, "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n" + _SERVE, "--reopen", "USR1", within=4)
    failed(result, "log reopen", "at the log reopen: nothing of it catches SIGUSR1 and it ignores it")


def test_a_reload_passes_a_wrapper_by(tmp_path: Path) -> None:
    """A shell that started the server catches nothing: the signal is for the server."""
    server = "signal.signal(signal.SIGHUP, lambda *_: open('/reloaded', 'w').close())\n" + _STOPS + _SERVE
    (tmp_path / "server.py").write_text("import os, signal, socket, sys\n" + server)
    (tmp_path / "early").touch()
    check = "case $TRACEJAIL_PHASE in exercise) ;; *) test -e $TRACEJAIL_ROOT/reloaded;; esac"
    done = tracejail(
        "learn", "--json", "-j", tmp_path / "jail", "--reload", "HUP", "--exercise", check,
        "/bin/sh", "-c", f"{_PYTHON} -I -S {tmp_path}/server.py; exit 4",
    )
    assert done.json["clean"], done.json
    assert any("SIGHUP went to what its first process has started" in note for note in done.json["notes"])
    assert not processes(str(tmp_path))


def test_a_signal_that_is_waited_for_and_not_caught(tmp_path: Path) -> None:
    program = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
while signal.sigwait([signal.SIGHUP, signal.SIGTERM]) != signal.SIGTERM: open('/reloaded', 'w').close()
"""
    check = "case $TRACEJAIL_PHASE in exercise) ;; *) test -e $TRACEJAIL_ROOT/reloaded;; esac"
    assert learn(tmp_path, program, "--reload", "HUP", "--exercise", check, within=10)["clean"]


# --- exercises --------------------------------------------------------------------------------------------------------


def test_it_crashes_in_its_exercise(tmp_path: Path) -> None:
    program = "s = socket.create_server(('127.0.0.1', 7012)); s.accept(); os.abort()"
    result = learn(tmp_path, program, "--exercise", _ASK, within=4)
    failed(result, "exercise", "it was killed by SIGABRT at the exercise, and the exercise ended with status 1")
    result = learn(tmp_path, program, "--exercise", _ASK + "; sleep 98767", within=8)
    failed(result, "exercise", "it was killed by SIGABRT at the exercise, and the exercise went on without it")


def test_an_exercise_that_says_too_much(tmp_path: Path) -> None:
    result = learn(tmp_path, _STOPS + _SERVE, "--exercise", "yes", within=10)
    failed(result, "exercise", "the exercise wrote more than is kept: yes")


def test_an_exercise_fails_after_the_reload(tmp_path: Path) -> None:
    program = "signal.signal(signal.SIGHUP, lambda *_: s.close())\n" + _STOPS + _SERVE.replace("while True:", """
while True:
    if s.fileno() < 0: time.sleep(1); continue""").replace("peer, _ = s.accept()", """
    try: peer, _ = s.accept()
    except OSError: continue
    pass""").replace("    pass; ", "    ")
    result = learn(tmp_path, program, "--reload", "HUP", "--exercise", _ASK, within=8)
    failed(result, "exercise after the reload", "at the exercise after the reload: the exercise ended with status 1")


def test_it_ends_before_it_is_ready(tmp_path: Path) -> None:
    failed(learn(tmp_path, "sys.exit(3)", "--exercise", _ASK), "start", "it exited with status 3 before it was ready")
    result = learn(tmp_path, "pass", "--exercise", _ASK)
    failed(result, "start", "it exited with status 0 before it was ready, and was not exercised")
    failed(learn(tmp_path, "pass", "--reload", "HUP"), "start", "it exited with status 0 before it was ready")


# --- the second start -------------------------------------------------------------------------------------------------


def test_the_second_start_finds_what_the_first_left(tmp_path: Path) -> None:
    program = _STOPS + """
if os.path.exists('/state'):
    assert open('/state').read() == 'x' and os.path.exists('/sock')
    open('/sock.second', 'w').close(); os.unlink('/sock')
open('/state', 'w').write('x')
u = socket.socket(socket.AF_UNIX); u.bind('/sock')
""" + _SERVE
    check = 'case $TRACEJAIL_PHASE in second*) test -e $TRACEJAIL_ROOT/sock.second;; esac && ' + _ASK
    assert learn(tmp_path, program, "--again", "--exercise", check, within=6)["clean"]


def test_the_second_start_fails_on_what_the_first_left(tmp_path: Path) -> None:
    program = _STOPS + "u = socket.socket(socket.AF_UNIX); u.bind('/sock'); u.listen()\n" + _SERVE
    result = learn(tmp_path, program, "--again", "--exercise", _ASK, within=6)
    failed(result, "second start", "at the second start: it exited with status 1 before it was ready")
    assert any("Address already in use" in line for line in result["output"])


# --- steps of a service manager ---------------------------------------------------------------------------------------


def _with_service(tmp_path: Path, service: Service, timeout: float = 20) -> tuple[str, str]:
    """Learn the server with this service; the reason and the report."""
    (tmp_path / "early").touch()
    argv = (_PYTHON, "-I", "-S", "-c", _HEAD + _STOPS + _SERVE, str(tmp_path))
    options = TrialOptions(argv, jail=str(tmp_path / "jail"), exercises=(_ASK,), service=service, timeout=timeout, replace=True)
    result = learn_here(options, Silent())
    assert not processes(str(tmp_path))
    return result.reason, summary(result, True, False)


def test_a_stop_step_that_hangs(tmp_path: Path) -> None:
    began = time.monotonic()
    reason, _ = _with_service(tmp_path, Service(stop=(Step(("/bin/sleep", "98768")),)))
    assert reason == "at the stop: /bin/sleep 98768 did not end within 10 s and was killed (--grace)"
    assert time.monotonic() - began < 10 + 2 * _SLACK


def test_what_a_step_knows(tmp_path: Path) -> None:
    """The target's process id, as a word and as a variable (systemd.service(5)), and the unit's umask."""
    script = 'test "$1" = "$(/bin/printenv MAINPID)" && kill -0 $1 && test "$(umask)" = 0027'
    step = Step(("/bin/sh", "-c", script, "sh", "$MAINPID"))
    assert _with_service(tmp_path, Service(after=(step,), umask=0o027))[0] == ""
    assert "ended with status 1" in _with_service(tmp_path, Service(after=(step,), umask=0o022))[0]


def test_a_step_before_the_start_that_hangs(tmp_path: Path) -> None:
    reason, _ = _with_service(tmp_path, Service(before=(Step(("/bin/sleep", "98769")),)), timeout=1.5)
    assert "time-out after 1.5 s at the start: /bin/sleep 98769 did not end" in reason


# --- the system log ---------------------------------------------------------------------------------------------------


def test_what_it_said_to_the_system_log_is_shown(tmp_path: Path) -> None:
    program = """
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
    log.connect('/dev/log')
    log.send(b'<27>late[7]: no \\x1b[31mkey\\x1b[0m here'); log.send(b'<27>late[7]: giving up\\0')
sys.exit(3)
"""
    result = learn(tmp_path, program)
    failed(result, "start", "exited with status 3")
    assert result["log"] == ["late[7]: no \x1b[31mkey\x1b[0m here", "late[7]: giving up"]
    assert [note["path"] for note in result["sockets"]] == ["/dev/log"]
    words = ["learn", "--replace", "-j", str(tmp_path / "jail"), _PYTHON, "-I", "-S", "-c", _HEAD + program, str(tmp_path)]
    text = tracejail(*words).out
    assert "it said to the system log:\n  late[7]: no \\x1b[31mkey\\x1b[0m here\n  late[7]: giving up\n" in text
    assert "\x1b" not in text


# --- the learner itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_in_the_midst_of_an_exercise(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "early").touch()
    exercise = f"touch {tmp_path}/on; sleep 98770 & sleep 98771"
    words = ["learn", "-j", str(tmp_path / "jail"), "--exercise", exercise, _PYTHON, "-I", "-S", "-c", _HEAD + _SERVE]
    learner = subprocess.Popen([*COMMAND, *words, str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _until((tmp_path / "on").exists)
    time.sleep(0.1)
    learner.send_signal(number)
    _, errors = learner.communicate(timeout=20)
    assert learner.returncode == (143 if number is signal.SIGTERM else -9), errors
    _until(lambda: not any(processes(mark) for mark in ("98770", "98771", str(tmp_path))))


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
