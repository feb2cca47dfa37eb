"""A confined program as a child that is waited for: where it has a pid namespace of its own, whose first process reaps what is
left over, and gets no signal that it has no handler for (pid_namespaces(7)); and where tracejail is a job of a shell, which
can't leave its terminal itself (setsid(2))."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable

from tracejail.errors import RunError
from tracejail.kernel import capabilities, namespaces
from tracejail.kernel.letting_go import die_with_parent

from .confine import Confinement, become, execute, spare

# As of a terminal: they are for all processes of the job.
_TO_ALL = frozenset((signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH))
_PASSED_ON = _TO_ALL | {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}


def supervise(plan: Confinement, root: int, tell: Callable[[list[str]], None]) -> int:
    """Start it and wait for it, or (with processes of its own) for all of them; gives the status of the one that was started, as
    a shell has it. `tell` is called with what could not be done. Raises RunError, in the process that was to become it too."""
    own = plan.isolation is not None and plan.isolation.processes
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)   # none is lost until there is somebody to take it
    lives, living = os.pipe()
    try:
        first = namespaces.fork_into(None) if own else os.fork()
    except OSError as error:
        raise RunError(f"no process can be made for it: {os.strerror(error.errno or 0)}", "see ulimit -u") from None
    if first:
        os.close(root)
        os.close(lives)
        return _wait_outside(first, own)
    os.close(living)
    if not own:
        tell(become(plan, root))
        execute(plan)
    die_with_parent()
    tell(become(plan, root, lives))
    die_with_parent()
    ended = select.poll()
    ended.register(spare(plan), 0)
    if ended.poll(0):
        os._exit(125)    # the parent was killed before
    capabilities.hide()  # it has the caller's environment, and no filter
    os.environ.clear()
    try:
        target = os.fork()
    except OSError as error:
        raise RunError(f"no process can be made for it: {os.strerror(error.errno or 0)}", "see --limit nproc") from None
    if not target:
        os.setsid()
        execute(plan)
    _wait_inside(target)
    return 125


def _wait_outside(first: int, own: bool) -> int:
    def pass_on(number: int, _: object) -> None:
        stops = number == signal.SIGTSTP
        if number == signal.SIGCONT and _in_background():
            return   # it would read what is typed for the shell
        if own:
            _kill(first, number)
        else:
            _kill(-first if number in _TO_ALL else first, signal.SIGSTOP if stops else number)
        if stops:
            os.kill(os.getpid(), signal.SIGSTOP)

    for each in _PASSED_ON:
        signal.signal(each, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    _, status = os.waitpid(first, 0)
    return _status(status)


def _in_background() -> bool:
    """Whether standard input is a terminal that another job has."""
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:
        return False


def _wait_inside(target: int) -> None:
    """Does not return: it ends with the status of the target when all processes have ended."""
    living, result = target, 125

    def pass_on(number: int, _: object) -> None:
        number = signal.SIGSTOP if number == signal.SIGTSTP else number
        _kill(-1 if not living else -living if number in _TO_ALL or number == signal.SIGSTOP else living, number)

    for each in _PASSED_ON:
        signal.signal(each, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    with contextlib.suppress(ChildProcessError):
        while True:
            process, status = os.waitpid(-1, 0)
            if process == target:
                living, result = 0, _status(status)
    os._exit(result)


def _kill(process: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(process, number)


def _status(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
