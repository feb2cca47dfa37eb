"""The use case `trace`: the failing calls of a program, one truss-like line each, on the host or in a jail."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from enum import Enum

from tracejail.engines import chosen
from tracejail.errors import UsageError
from tracejail.jail.enter import Launch, Stage, set_stage, start
from tracejail.kernel import ptrace
from tracejail.model import SyscallRecord, TrialOptions
from tracejail.resolve.host import open_host_root
from tracejail.show import Show
from tracejail.trace.engine import Answer, Engine, Hooks, Interrupted
from tracejail.trace.miss_program import FAILURES
from tracejail.trace.tracer import trace as run_traced
from tracejail.trace.truss import line
from tracejail.trial.outcome import exit_status
from tracejail.trial.overlays import overlay_tree
from tracejail.trial.rootless import gain_powers
from tracejail.trial.run import BLOCKED
from tracejail.trial.target import (
    MOUNT_TYPES,
    caller_environment,
    find_identity,
    find_program,
    present_devices,
)


class Shown(Enum):
    """Which calls are printed."""

    EVERY = "all that carry a path"
    FAILING = "those that fail"
    MISSES = "those that miss a file or are refused, each once"


def trace(options: TrialOptions, jail: str, shown: Shown, show: Show, emit: Callable[[str], None]) -> int:
    """Run the program with its calls printed by `emit`; gives its exit status, as a shell has it.

    In a jail it runs over the jail's tree, which is not changed. Raises TracejailError, Interrupted.
    """
    host = open_host_root(options.host_root)
    user = find_identity(host, options.user)
    if jail and not os.path.isdir(jail):
        raise UsageError(f"{jail}: no such jail", "name a directory with -j")
    program = find_program(open_host_root(jail), options.argv[0]) if jail else find_program(host, options.argv[0])
    # Calls that succeed are seen by the seccomp engine only.
    every = shown is Shown.EVERY
    name = "seccomp" if every and options.engine == "auto" else options.engine
    if every and name == "bpf":
        raise UsageError("--all --engine bpf: that engine tells of no call that succeeds", "leave out one of them")
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(chosen(name, show, FAILURES if shown is Shown.MISSES else ()))
        stage_of_jail = None
        if jail:
            gain_powers(user.uid, user.gid, options.network == "private", show.say)
            lower = os.open(jail, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, lower)
            root = stack.enter_context(overlay_tree(lower))
            mounts = tuple(MOUNT_TYPES[name] for name in options.mounts)
            stage_of_jail = Stage(root, options.network == "private", mounts, present_devices(root))
        launch = Launch(
            argv=(program, *options.argv[1:]),
            program=program,
            environment=caller_environment(options.environment),
            directory=options.directory if jail else os.getcwd(),
            uid=user.uid,
            gid=user.gid,
            groups=user.groups,
            filter=engine.filter,
        )
        return _trace(stage_of_jail, launch, engine, shown, emit, options.timeout)


def _trace(
    stage: Stage | None, launch: Launch, engine: Engine, shown: Shown, emit: Callable[[str], None], timeout: float
) -> int:
    said: set[str] = set()
    statuses: dict[int, int] = {}
    alive: set[int] = set()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    deadline = time.monotonic() + timeout if timeout else None
    init = set_stage(stage) if stage else 0
    started = start(launch, init)

    def enter(record: SyscallRecord) -> bool:
        return True

    def finish(record: SyscallRecord) -> Answer:
        text = line(record, errors_only=shown is not Shown.EVERY)
        if shown is Shown.MISSES:
            if -record.result not in FAILURES or text in said:
                text = None
            else:
                said.add(text or "")
        if text is not None:
            emit(text)
        return Answer.KNOWN if shown is Shown.MISSES and len(record.arguments) == 1 else Answer.LEAVE

    def born(process: int) -> None:
        alive.add(process)
        if process == started.target:
            started.go()

    def ended(process: int, status: int) -> None:
        statuses[process] = status
        alive.discard(process)

    def idle() -> float | None:
        if (started.target in statuses and not alive) or (deadline is not None and time.monotonic() > deadline):
            return None
        return 0.5

    try:
        ptrace.seize(started.target)
        hooks = Hooks(
            enter=enter, finish=finish, used=lambda _: Answer.LEAVE, event=lambda _: None, started=born,
            ended=ended, idle=idle, newcomers=[started.target],
        )
        run_traced(engine, hooks)
    except Interrupted as interrupt:
        return 128 + interrupt.number
    finally:
        for process in {init, started.target, *alive} - {0, *statuses}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while started.target not in statuses or (init and init not in statuses):
                stop = ptrace.wait_stop(block=True)
                if stop is not None and stop.kind is ptrace.StopKind.ENDED:
                    statuses[stop.thread] = stop.status
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return exit_status(statuses.get(started.target, 0))
