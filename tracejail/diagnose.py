"""The use case `doctor`: the facts of a jail and of a run in it, and what the rules make of them. It changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from tracejail.doctor.compared import ends_alike
from tracejail.doctor.facts import Call, Facts, JailMount, Node, RunFacts
from tracejail.doctor.finding import Confidence, Finding
from tracejail.doctor.rank import ranked
from tracejail.doctor.rules import findings
from tracejail.errors import IncompleteError, InputOutputError, KernelLacksError, UsageError
from tracejail.jail.enter import CAPABILITIES
from tracejail.kernel.capabilities import NAMES
from tracejail.kernel.mountinfo import MountLine
from tracejail.learner import learner
from tracejail.model import EntryType, TrialOptions
from tracejail.resolve.elf import ElfFacts
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.resolve.policy import harmless, secret
from tracejail.show import Show
from tracejail.trial.answers import Manner
from tracejail.trial.mounted import FLAGS, full, jail_mounts
from tracejail.trial.target import caller_environment, find_identity
from tracejail.views import View
from tracejail.witness import EVERY, run_in_jail, run_outside

_QUICK = 10_000    # calls of the run in the jail, for another to be made without being asked for
_LARGE = 1 << 24   # bytes of a file of the host, or of what it says
_OUTSIDE = 10.0    # seconds that the run on the host may take


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What doctor came to. `status` is the exit status of the command."""

    facts: Facts
    findings: tuple[Finding, ...]
    ruled_out: tuple[str, ...]
    status: int
    seconds: float
    notes: tuple[str, ...] = ()   # what was not looked at

    @property
    def run(self) -> RunFacts | None:
        return self.facts.run


Outside = Callable[[str], RunFacts | None]   # of a program, by its path


def diagnose(options: TrialOptions, show: Show, static: bool = False, compare: bool | None = None) -> Diagnosis:
    """Run the program in the jail `options.jail` as it is (or, `static`, only look at its files). `compare`: whether to run it
    with the host as its root as well; None where that is safe, quick, and needed.

    Raises UsageError, KernelLacksError, InputOutputError, Interrupted.
    """
    outside = run_once_outside(options, show)
    return diagnose_root(options, show, open_jail(options.jail), outside, static=static, compare=compare)


def run_once_outside(options: TrialOptions, show: Show) -> Outside:
    """A function value that runs the command on the host the first time it is called; None comes of what can't be run."""

    def run_it(program: str) -> RunFacts | None:
        short = replace(options, timeout=min(options.timeout, _OUTSIDE))
        try:
            work = learner(short, show, EVERY, program)
            return run_outside(work, work.launch(False, Manner.VERIFY))
        except (KernelLacksError, InputOutputError, IncompleteError, UsageError) as error:
            show.say(f"not compared with the host: {error}")
            return None

    return lru_cache(1)(run_it)


def open_jail(path: str) -> HostRoot:
    """Raises UsageError."""
    if not os.path.isdir(path):
        raise UsageError(f"{path}: no such jail", "name a directory with -j")
    return open_host_root(path)


def diagnose_root(
    options: TrialOptions, show: Show, root: HostRoot, outside: Outside, above: int = -1, static: bool = False,
    compare: bool | None = None,
) -> Diagnosis:
    """The same, of a jail with a layer of changes `above` it; `root` shows both."""
    began = time.monotonic()
    facts = look(options, root)
    if static or not facts.program:
        return judge(facts, time.monotonic() - began)
    work = learner(options, show, EVERY, facts.program)
    facts = replace(facts, run=run_in_jail(work, options.jail, work.launch(False, Manner.VERIFY), above))
    first = judge(facts, time.monotonic() - began)
    wanted = compare if compare is not None else _is_quick(facts) and _is_safe(options, facts) and _is_open(first)
    if not wanted or not _is_the_same(facts):
        return first
    return judge(replace(facts, outside=outside(facts.program)), time.monotonic() - began)


def _is_the_same(facts: Facts) -> bool:
    """Whether the host's program is the jail's."""
    return facts.jail.same(facts.program, facts.host) and facts.host.way(facts.program).found is not None


def _is_quick(facts: Facts) -> bool:
    """Whether it does little: counted, for the time that it takes depends on the machine."""
    run = facts.run
    return run is not None and len(run.calls) < _QUICK and len(run.output) + len(run.errors) < _LARGE


def _is_safe(options: TrialOptions, facts: Facts) -> bool:
    """Whether it serves nobody, has the network of nobody, and opens nothing large to write to it: of what the host has
    there, a data base, a copy in memory would be made."""
    run = facts.run
    if run is None or run.listens or options.network != "private" or options.exercises:
        return False
    if any(call.name == "listen" and not call.failed for call in run.calls):
        return False  # on a port of the kernel's choice
    return not any(_writes(call) and _is_large(facts.host.way(call.path).found) for call in run.calls)


def _is_large(node: Node | None) -> bool:
    return node is not None and node.size > _LARGE


def _writes(call: Call) -> bool:
    return not call.failed and call.opens and bool(call.record.flags & os.O_ACCMODE)


def _is_open(diagnosis: Diagnosis) -> bool:
    """Whether the jail alone leaves a question: there is no cause that is certain."""
    return not any(each.confidence is Confidence.CERTAIN and not each.quiet for each in diagnosis.findings)


def look(options: TrialOptions, root: HostRoot) -> Facts:
    """What can be known of a jail without a run in it. Raises UsageError."""
    jail, host = View(root), View(open_host_root(options.host_root))
    user = find_identity(host.root, options.user)
    environment = caller_environment(options.environment)
    search = search_of(environment)
    program = _program(jail, options.argv[0], search, options.directory) if options.argv else ""
    return Facts(
        jail=jail,
        host=host,
        argv=options.argv,
        program=program,
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        search=search,
        environment=tuple(environment.items()),
        directory=options.directory,
        machine=os.uname().machine.replace("_", "-"),
        mounts=told_mounts(jail_mounts(options.jail), options.jail),
        harmless=harmless,
        secret=secret,
        withheld=frozenset(range(len(NAMES))) - CAPABILITIES,
        programs=() if options.argv else _programs(jail),
    )


def search_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The directories of PATH, or those that execvp(3) takes without it."""
    return tuple(word or "/" for word in environment.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":"))


def told_mounts(lines: Iterable[MountLine], jail: str) -> tuple[JailMount, ...]:
    """The mounts of a jail as rules look at them."""
    return tuple(
        JailMount(line.point, line.type, line.flags & FLAGS, line.source, full(f"{jail.rstrip('/')}{line.point}"))
        for line in lines
    )


def _program(jail: View, word: str, search: tuple[str, ...], directory: str) -> str:
    """What execvp(3) would execute in the jail; "" where PATH leads nowhere."""
    if "/" in word:
        return word if word.startswith("/") else os.path.normpath(os.path.join(directory, word))
    for place in search:
        path = f"{place.rstrip('/')}/{word}"
        if jail.node(path) is not None and place.startswith("/"):
            return path
    return ""


def _programs(jail: View) -> tuple[str, ...]:
    return tuple(sorted(
        node.path for node in jail.everything()
        if node.type is EntryType.FILE and node.mode & 0o111 and jail.program(node.path).kind in ("elf", "script")
        and not _is_library(jail.elf.get(node.path))
    ))


def _is_library(facts: ElfFacts | None) -> bool:
    """Whether a file with an x bit is a library all the same: who loads it has a loader, and may have a search path for it."""
    return facts is not None and (facts.soname != "" or (facts.interpreter == "" and facts.needed != ()))


def judge(facts: Facts, seconds: float) -> Diagnosis:
    """What the rules make of the facts."""
    found, clear = findings(facts)
    shown = ranked(facts, found)
    dies = facts.run is not None and not facts.run.healthy
    causes = [finding for finding in shown if finding.confidence is not Confidence.POSSIBLE]
    status = 1 if causes or (dies and any(not each.quiet for each in shown) and not ends_alike(facts)) else 3 if dies else 0
    return Diagnosis(facts, shown, clear, status, seconds)
