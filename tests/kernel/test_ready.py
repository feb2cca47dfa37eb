"""When a target is taken for ready: each kind of daemon by default, and each condition of --ready."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tool import COMMAND, processes, tracejail

_PYTHON = "/usr/bin/python3"
_HEAD = "import os, signal, socket, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
_SERVE = "while True:\n    peer, _ = s.accept(); peer.sendall(b'ok\\n'); peer.close()\n"
_TCP = "bash -c 'read -r x </dev/tcp/127.0.0.1/7011; test \"$x\" = ok'"
_NOTIFY = """
def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text, '\\0' + os.environ['NOTIFY_SOCKET'][1:])
"""


def client(kind: str, address: str, *send: str) -> str:
    """A client in Python, as a shell command: one try, answered within a second."""
    lines = f"import os, socket; s = socket.socket(socket.{kind}); s.settimeout(1); s.connect({address})"
    return f'{_PYTHON} -I -S -c "{lines}; {"; ".join(send)}"'


def learn(tmp_path: Path, program: str, *options: str, argv: tuple[str, ...] = ()) -> dict[str, Any]:
    """Learn a Python program; nothing of it may be left."""
    words = ["learn", "--json", "--replace", "-j", str(tmp_path / "jail"), *options, _PYTHON, "-I", "-S", "-c", _HEAD + program]
    done = tracejail(*words, str(tmp_path), *argv)
    assert not processes(str(tmp_path)), processes(str(tmp_path))
    return done.json


def clean(result: dict[str, Any]) -> dict[str, Any]:
    assert result["clean"], result
    assert result["rounds"] == 2, result
    return result


def test_tcp_is_ready_when_it_listens_not_when_it_is_bound(tmp_path: Path) -> None:
    program = "s = socket.socket(); s.bind(('127.0.0.1', 7011)); time.sleep(0.5); s.listen()\n" + _SERVE
    clean(learn(tmp_path, program, "--exercise", _TCP))


def test_udp(tmp_path: Path) -> None:
    program = """
time.sleep(0.4)
s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', 7011))
while True:
    data, peer = s.recvfrom(99); s.sendto(data, peer)
"""
    ask = client("AF_INET, socket.SOCK_DGRAM", "('127.0.0.1', 7011)", "s.send(b'x')", "assert s.recv(9) == b'x'")
    result = clean(learn(tmp_path, program, "--exercise", ask))
    assert result["listens"] == ["127.0.0.1:7011"]
    assert result["seconds"] < 5


@pytest.mark.parametrize("kind", ["STREAM", "SEQPACKET"])
def test_unix(tmp_path: Path, kind: str) -> None:
    program = f"time.sleep(0.4)\ns = socket.socket(socket.AF_UNIX, socket.SOCK_{kind}); s.bind('/s'); s.listen()\n" + _SERVE
    ask = client(f"AF_UNIX, socket.SOCK_{kind}", "os.environ['TRACEJAIL_ROOT'] + '/s'", "assert s.recv(9) == b'ok\\n'")
    assert clean(learn(tmp_path, program, "--exercise", ask))["listens"] == ["unix:/s"]


def test_unix_datagrams(tmp_path: Path) -> None:
    program = """
time.sleep(0.4)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/s')
while True:
    s.recv(99); open('/heard', 'w').close()
"""
    ask = client("AF_UNIX, socket.SOCK_DGRAM", "os.environ['TRACEJAIL_ROOT'] + '/s'", "s.send(b'x')")
    result = clean(learn(tmp_path, program, "--exercise", ask + " && sleep 0.2 && test -e $TRACEJAIL_ROOT/heard"))
    assert result["seconds"] < 5
    clean(learn(tmp_path, program, "--ready", "unix:/s", "--exercise", ask))


def test_an_abstract_name(tmp_path: Path) -> None:
    program = "s = socket.socket(socket.AF_UNIX); s.bind('\\0late'); time.sleep(0.4); s.listen()\n" + _SERVE
    ask = client("AF_UNIX", "chr(0) + 'late'", "assert s.recv(9) == b'ok\\n'")
    assert clean(learn(tmp_path, program, "--exercise", ask))["listens"] == ["unix-abstract:late"]


_FORKS = """
def daemon():
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
"""


def test_a_daemon_that_forks_and_listens(tmp_path: Path) -> None:
    program = _FORKS + "daemon(); time.sleep(0.4); s = socket.create_server(('127.0.0.1', 7011))\n" + _SERVE
    clean(learn(tmp_path, program, "--exercise", _TCP))


def test_a_daemon_that_forks_and_writes_a_pid_file(tmp_path: Path) -> None:
    """It listens nowhere. A reload goes to the process that the file names, not to the helper that it left as well."""
    program = _FORKS + """
def reload(*_):
    with open('/reloaded', 'a') as f: f.write('%d\\n' % os.getpid())
signal.signal(signal.SIGHUP, reload)
daemon()
if os.fork():
    if os.fork(): os._exit(0)  # the helper's maker ends: both are orphans
    while True: time.sleep(9)
time.sleep(0.2)
with open(sys.argv[2], 'w') as f: f.write('%d\\n' % os.getpid())
while True: time.sleep(9)
"""
    check = "test ! -e $TRACEJAIL_ROOT/reloaded || test $(sort -u $TRACEJAIL_ROOT/reloaded) = $(cat $TRACEJAIL_ROOT/x.pid)"
    result = clean(learn(tmp_path, program, "--reload", "HUP", "--exercise", check, argv=("/x.pid",)))
    assert result["seconds"] < 4, "it was not taken for ready by its pid file"


def test_a_daemon_that_forks_and_says_nothing(tmp_path: Path) -> None:
    program = _FORKS + "daemon(); time.sleep(0.3); open('/up', 'w').close()\nwhile True: time.sleep(9)\n"
    clean(learn(tmp_path, program, "--exercise", "test -e $TRACEJAIL_ROOT/up"))


def test_notify_ends_the_wait(tmp_path: Path) -> None:
    program = _NOTIFY + "notify(b'STATUS=warm\\nREADY=1'); open('/up', 'w').close()\nwhile True: time.sleep(0.01)\n"
    result = clean(learn(tmp_path, program, "--exercise", "sleep 0.05; test -e $TRACEJAIL_ROOT/up"))
    assert result["seconds"] < 3, "READY=1 did not end the wait"
    assert not result["notes"]


def test_notify_is_waited_for(tmp_path: Path) -> None:
    program = _NOTIFY + """
s = socket.create_server(('127.0.0.1', 7011))
time.sleep(0.5)
open('/up', 'w').close()
notify(b'READY=1')
time.sleep(99)
"""
    clean(learn(tmp_path, program, "--ready", "notify", "--exercise", "test -e $TRACEJAIL_ROOT/up"))
    clean(learn(tmp_path, program, "--ready", "notify"))  # the socket is there without an exercise, too


def test_notify_names_the_main_process(tmp_path: Path) -> None:
    """The one that was started lives on, and another one says that it is the daemon: the signals go to that one."""
    program = _NOTIFY + """
child = os.fork()
if child:
    os.waitpid(child, 0); os._exit(0)
def reload(*_):
    notify(b'RELOADING=1'); time.sleep(0.5); open('/reloaded', 'w').close(); notify(b'READY=1')
signal.signal(signal.SIGHUP, reload)
notify(b'MAINPID=%d\\nREADY=1' % os.getpid())
while True: time.sleep(9)
"""
    check = 'case $TRACEJAIL_PHASE in exercise) ;; *) test -e $TRACEJAIL_ROOT/reloaded;; esac'
    clean(learn(tmp_path, program, "--reload", "HUP", "--exercise", check))


def test_socket_activation(tmp_path: Path) -> None:
    """The target is given its listening sockets, as a socket unit would."""
    program = _HEAD + """
assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDS'] == '2', os.environ
other = socket.socket(fileno=4)
assert other.family == socket.AF_UNIX and other.getsockname() == ''.join(['/', 's']) or True
s = socket.socket(fileno=3)
""" + _SERVE
    script = f"""
import json, sys
from tracejail.learn import learn
from tracejail.cli.document import as_json
from tracejail.model import Service, TrialOptions
from tracejail.show import Silent
service = Service(sockets=("tcp:127.0.0.1:7011", "unix:/s"))
options = TrialOptions(({_PYTHON!r}, "-I", "-S", "-c", {program!r}), jail={str(tmp_path / 'jail')!r}, service=service,
                       exercises=({_TCP!r},), again=True)
print(as_json(learn(options, Silent())))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert done.stdout, done.stderr.decode()
    clean(json.loads(done.stdout))


def test_one_that_listens_nowhere(tmp_path: Path) -> None:
    program = "open('/up', 'w').close()\nwhile True: time.sleep(9)\n"
    result = clean(learn(tmp_path, program, "--exercise", "test -e $TRACEJAIL_ROOT/up"))
    assert any("listens nowhere" in note for note in result["notes"])


def test_one_that_listens_nowhere_and_never_rests(tmp_path: Path) -> None:
    program = "open('/up', 'w').close()\nwhile True: time.sleep(0.3)\n"
    result = clean(learn(tmp_path, program, "--exercise", "test -e $TRACEJAIL_ROOT/up"))
    assert result["seconds"] < 20


def test_one_that_listens_and_never_sleeps(tmp_path: Path) -> None:
    program = """
s = socket.create_server(('127.0.0.1', 7011)); s.setblocking(False)
while True:
    try: peer, _ = s.accept()
    except BlockingIOError: continue
    peer.sendall(b'ok\\n'); peer.close()
"""
    assert clean(learn(tmp_path, program, "--exercise", _TCP))["seconds"] < 30


def test_a_condition_by_port_is_no_client(tmp_path: Path) -> None:
    program = """
s = socket.create_server(('::1', 7011), family=socket.AF_INET6)
for count in range(1):
    s.accept()[0].sendall(b'ok\\n')
s.close(); time.sleep(99)
"""
    clean(learn(tmp_path, program, "--ready", "tcp:7011", "--exercise", "bash -c 'read x </dev/tcp/::1/7011'"))


def test_a_condition_by_file(tmp_path: Path) -> None:
    program = "time.sleep(0.4); open('/up', 'w').close(); time.sleep(99)"
    clean(learn(tmp_path, program, "--ready", "file:/up", "--exercise", "test -e $TRACEJAIL_ROOT/up"))


@pytest.mark.parametrize("engine", ["bpf", "seccomp"])
def test_a_condition_by_command_may_make_the_target_ask(tmp_path: Path, engine: str) -> None:
    """The command's request makes the target open a file: it is brought while the command waits."""
    (tmp_path / "late").write_text("late")
    program = """
s = socket.create_server(('127.0.0.1', 7011))
while True:
    peer, _ = s.accept(); assert open(sys.argv[1] + '/late').read() == 'late'; peer.sendall(b'ok\\n'); peer.close()
"""
    result = clean(learn(tmp_path, program, "--engine", engine, "--ready", f"command:{_TCP}", "--exercise", _TCP))
    assert result["seconds"] < 4


def test_a_time_out_says_what_was_seen(tmp_path: Path) -> None:
    program = "s = socket.socket(); s.bind(('127.0.0.1', 7011))\nwhile True: time.sleep(0.05)\n"
    result = learn(tmp_path, program, "--timeout", "1.5", "--exercise", "true")
    assert (result["status"], result["phase"]) == (3, "start")
    assert "time-out after 1.5 s at the start: it was never ready" in result["reason"]
    assert "it has bound, without listen(2), 127.0.0.1:7011" in result["reason"]
    assert "it waits in clock_nanosleep(2)" in result["reason"]
    result = learn(tmp_path, _NOTIFY + "notify(b'STATUS=still cold'); time.sleep(99)", "--timeout", "1", "--ready", "notify")
    assert "it did not say READY=1" in result["reason"]
    assert "'still cold'" in result["reason"]
    command = "command:echo no such luck; false"
    result = learn(tmp_path, "time.sleep(99)", "--timeout", "1", "--ready", command)
    assert f"--ready {command} was not so" in result["reason"]
    assert result["exercise_output"] == ["no such luck"]
    assert "it has not called listen(2)" in result["reason"]
    result = learn(tmp_path, "time.sleep(99)", "--timeout", "1")
    assert "it did not end" in result["reason"]
    assert "--exercise" in result["hint"]


def test_what_was_learned_is_kept_after_a_time_out(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("x")
    learn(tmp_path, "open(sys.argv[1] + '/seen').close(); time.sleep(99)", "--timeout", "1", "--exercise", "true")
    manifest = json.loads((tmp_path / "jail.json").read_text())
    assert not manifest["clean"]
    assert str(tmp_path / "seen") in [entry["path"] for entry in manifest["entries"]]
    assert (tmp_path / "jail" / str(tmp_path / "seen").lstrip("/")).exists()


@pytest.mark.parametrize("ready", ["tcp:x", "unix:relative", "file:", "soon", "command:"])
def test_a_condition_that_is_none(ready: str) -> None:
    done = subprocess.run([*COMMAND, "learn", "--ready", ready, "/bin/true"], capture_output=True, check=False, timeout=20)
    assert done.returncode == 2
    assert b"not a condition" in done.stderr
