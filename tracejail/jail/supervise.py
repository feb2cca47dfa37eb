"""A confined program in a pid namespace of its own: the first process there reaps what is left over, and passes signals on, for
the kernel would keep them from a program that is the first one itself (pid_namespaces(7))."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from tracejail.kernel import namespaces
from tracejail.kernel.letting_go import die_with_parent

from .confine import Confinement, become, execute

_PASSED_ON = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT,
)


def supervise(plan: Confinement, root: int, tell: Callable[[list[str]], None]) -> int:
    """Start it and wait for all of its processes; gives the status of the one that was started, as a shell has it. `tell` is
    called with what could not be done. Raises RunError, in the process that was to become it."""
    first = namespaces.fork_into(None)
    if first:
        os.close(root)
        return _wait_outside(first)
    tell(become(plan, root))
    die_with_parent()
    target = os.fork()
    if not target:
        os.setsid()
        execute(plan)
    _wait_inside(target)
    return 125


def _wait_outside(first: int) -> int:
    for number in _PASSED_ON:
        signal.signal(number, lambda number, _: _pass_on(first, number))
    _, status = os.waitpid(first, 0)
    return _status(status)


def _wait_inside(target: int) -> None:
    """Does not return: it ends with the status of the target when all processes have ended."""
    living, result = target, 125
    for number in _PASSED_ON:
        signal.signal(number, lambda number, _: _pass_on(living or -1, number))
    with contextlib.suppress(ChildProcessError):
        while True:
            process, status = os.waitpid(-1, 0)
            if process == target:
                living, result = 0, _status(status)
    os._exit(result)


def _pass_on(process: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(process, number)


def _status(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
