"""A run in a jail as it is, of which every call is heard: the facts of doctor's rules. Nothing is answered or changed."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field, replace
from functools import lru_cache

from tracejail.doctor.facts import Call, Ended, RunFacts, State
from tracejail.jail.enter import Launch, Stage
from tracejail.jail.tree import open_tree
from tracejail.kernel.standing import standing_of
from tracejail.learner import Learner
from tracejail.model import SyscallRecord, Want
from tracejail.trace.engine import Engine
from tracejail.trace.misses import absolute
from tracejail.trace.table import LOOKS, OPENS
from tracejail.trial.answers import Answers, Manner
from tracejail.trial.mounted import Mounted, mounted, outside
from tracejail.trial.outcome import Outcome, as_expected, ended_words, exit_status
from tracejail.trial.run import run
from tracejail.trial.target import MOUNT_TYPES, host_devices, new_supply, present_devices, put_mount_points, rules_of
from tracejail.trial.witness import Witness

EVERY = Engine("every", b"", every=True)
_MOST = 50_000     # calls that are kept, each once for its program, path and result
# Of calls with these results it is noted what the kernel judged the caller by.
_JUDGED = frozenset((
    errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EAGAIN, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOSYS,
    errno.EROFS, errno.ENOSPC, errno.EDQUOT,
))
# What fails by the way, in any program: no news.
_ORDINARY = {
    "read": {errno.EAGAIN, errno.EINTR}, "recvmsg": {errno.EAGAIN, errno.EINTR}, "recvfrom": {errno.EAGAIN, errno.EINTR},
    "accept": {errno.EAGAIN, errno.EINTR}, "accept4": {errno.EAGAIN, errno.EINTR}, "futex": {errno.EAGAIN, errno.EINTR},
    "ioctl": {errno.ENOTTY}, "wait4": {errno.ECHILD}, "lseek": {errno.ESPIPE},
    "close": {errno.EBADF}, "fcntl": {errno.EBADF},   # of all descriptors that there might be, before an exec
}
_RESTARTS = range(-516, -511)   # ERESTARTSYS and kin, linux/errno.h: never seen by the program
_ENDS = frozenset(("exit", "exit_group"))


@dataclass(slots=True)
class Notebook:
    """What is kept of a run."""

    calls: dict[tuple[object, ...], Call] = field(default_factory=dict)
    ends: list[Ended] = field(default_factory=list)
    programs: dict[int, str] = field(default_factory=dict)
    everything: bool = False      # what went well is kept, too: each once
    fresh: set[int] = field(default_factory=set)      # processes of ours that have not executed their program yet
    heard: int = 0
    clipped: bool = False

    def witness(self) -> Witness:
        """The function values."""
        return Witness(self.call, self.fresh.add, self.ended)

    def call(self, record: SyscallRecord, phase: str) -> None:
        """One has returned."""
        self.heard += 1
        executes = record.syscall.startswith("exec")
        if record.process in self.fresh:
            if not executes and not (record.syscall == "chdir" and record.result < 0):
                return  # Python's, on its way to the exec
            if record.result >= 0:
                self.fresh.discard(record.process)
            record = replace(record, program="")
        elif executes and record.result >= 0:
            self.programs.pop(record.process, None)
        else:
            self.programs.setdefault(record.process, record.program)
        failed = record.result < 0
        number = -record.result
        if record.syscall in _ENDS or record.result in _RESTARTS or (failed and number in _ORDINARY.get(record.syscall, ())):
            return
        if not failed and not (self.everything and record.arguments) and not _worth(record):
            return
        words = () if record.arguments or record.address else record.words
        result = min(record.result, 0)
        key: tuple[object, ...] = (
            record.program, record.syscall, record.arguments, record.address, record.flags, result, words,
        )
        known = self.calls.get(key)
        # Successes are kept in their order, too, while there is room: one that is watched for long makes the same ones for ever.
        if known is not None and (failed or self.everything or len(self.calls) > _MOST // 2):
            self.calls[key] = replace(known, count=known.count + 1)
            return
        if len(self.calls) >= _MOST:
            self.clipped = True
            return
        state = _state(record.thread) if failed and number in _JUDGED else None
        if known is not None:
            key = (*key, self.heard)
        path = absolute(record.arguments[-1]) if record.arguments else ""
        self.calls[key] = Call(self.heard, record, path, phase, state)

    def ended(self, process: int, status: int) -> None:
        """A process has."""
        self.ends.append(Ended(process, self.programs.pop(process, ""), exit_status(status)))

    def facts(self, outcome: Outcome, expect: int) -> RunFacts:
        """When it is over."""
        return RunFacts(
            calls=tuple(sorted(self.calls.values(), key=lambda call: call.order)),
            words=ended_words(outcome),
            healthy=as_expected(outcome, expect),
            failure=outcome.failure,
            output=outcome.output,
            errors=outcome.errors,
            log=outcome.log,
            exercise=outcome.failed_output,
            listens=tuple(outcome.listens),
            ends=tuple(self.ends),
            clipped=self.clipped,
        )


def _worth(record: SyscallRecord) -> bool:
    """Whether a call that went well is one that a rule may ask for: what was executed, opened, listed, made or reached, and
    who it became."""
    if not record.arguments:
        return not record.syscall.startswith(("send", "clone"))
    return record.syscall in OPENS or record.syscall not in LOOKS or record.arguments[-1].want is not Want.OBJECT


def _state(thread: int) -> State | None:
    found = standing_of(thread)
    if found is None:
        return None
    # A filter or label that doctor itself is under, as in a container, is none of the jail's.
    filters, own = _under()
    seccomp = found.seccomp if found.filters > filters or not found.filters else 0
    label = found.label if found.label != own else ""
    return State(
        found.uid, found.gid, found.groups, found.capabilities, seccomp, found.no_new_privs, found.limits, label
    )


@lru_cache(1)
def _under() -> tuple[int, str]:
    """How many filters this process is under, and its label."""
    ours = standing_of(os.getpid())
    return (ours.filters, ours.label) if ours else (0, "")


def run_in_jail(work: Learner, jail: str, launch: Launch, above: int = -1) -> RunFacts:
    """Run the target in a jail as it is, or with a layer of changes `above` it; the jail is not changed.

    Raises KernelLacksError, InputOutputError, Interrupted.
    """
    with mounted(jail, above) as shown:
        return _run(work, shown, launch, Notebook(), present_devices(shown.root))


def run_outside(work: Learner, launch: Launch) -> RunFacts:
    """Run the same target with the whole host as its root: all that it writes stays in memory, and no process, network or
    device of the host's can be reached, but for the harmless ones.

    Raises KernelLacksError, InputOutputError, Interrupted.
    """
    with outside(work.options.host_root) as shown:
        return _run(work, shown, launch, Notebook(everything=True), host_devices(work.host))


def _run(
    work: Learner, shown: Mounted, launch: Launch, notes: Notebook, devices: tuple[tuple[str, str], ...]
) -> RunFacts:
    own = {(mount.type, mount.path) for mount in shown.own}
    named = [name for name, row in MOUNT_TYPES.items() if row in own or name in work.options.mounts]
    tree = open_tree(shown.root, "the copy in memory: ", in_memory=True)
    supply = new_supply(work.host, tree, rules_of(work.options, frozenset(named)))
    put_mount_points(supply)
    answers = Answers(supply, Manner.VERIFY, lambda _: None)
    stage = Stage(
        shown.root, work.options.network == "private", tuple(MOUNT_TYPES[name] for name in named), devices, shown.attached,
    )
    outcome = run(
        stage, launch, lambda step: work.step(launch, step), work.drive("doctor"), EVERY, answers, work.show, notes.witness()
    )
    return notes.facts(outcome, work.options.expect)
