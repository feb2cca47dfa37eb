"""What /proc says of processes that do one thing each."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tracejail.kernel.processes import acts_on, ignores

_WAYS = {
    "catches": ("signal.signal(signal.SIGHUP, print)", True),
    "ignores": ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", True),
    "blocks": ("signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})", True),
    "waits": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP}); print('so', flush=True); signal.sigwait({signal.SIGHUP})",
        True,
    ),
    "waits in a thread": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP}); "
        "threading.Thread(target=lambda: signal.sigwait({signal.SIGHUP})).start(); "
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})",
        True,
    ),
    "does nothing": ("pass", False),
    "catches another": ("signal.signal(signal.SIGUSR1, print)", False),
}


@pytest.fixture(params=_WAYS.values(), ids=_WAYS.keys())
def way(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    lines, expected = request.param
    # nohup(1) ignores the hangup for all that it starts, these tests among them.
    own = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    script = f"import signal, threading, time\n{own}\n{lines}\nprint('so', flush=True)\ntime.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)  # a wait begins after it is told of
    yield process.pid, expected
    process.kill()
    process.wait()
    process.stdout.close()


def test_whether_a_signal_does_something(way: tuple[int, bool]) -> None:
    process, expected = way
    assert (acts_on(process, signal.SIGHUP) or ignores(process, signal.SIGHUP)) is expected
