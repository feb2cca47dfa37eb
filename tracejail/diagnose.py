"""The use case `doctor`: the facts of a jail and of a run in it, and what the rules make of them. It changes nothing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

from tracejail.doctor.facts import Facts, JailMount, RunFacts
from tracejail.doctor.finding import Confidence, Finding
from tracejail.doctor.rank import ranked
from tracejail.doctor.rules import findings
from tracejail.errors import UsageError
from tracejail.jail.enter import CAPABILITIES
from tracejail.kernel.capabilities import NAMES
from tracejail.learner import learner
from tracejail.model import EntryType, TrialOptions
from tracejail.resolve.elf import ElfFacts
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.resolve.policy import harmless
from tracejail.show import Show
from tracejail.trial.answers import Manner
from tracejail.trial.mounted import jail_mounts
from tracejail.trial.target import caller_environment, find_identity
from tracejail.views import View
from tracejail.witness import EVERY, run_in_jail

_FLAGS = frozenset(("ro", "nosuid", "nodev", "noexec"))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What doctor came to. `status` is the exit status of the command."""

    facts: Facts
    findings: tuple[Finding, ...]
    ruled_out: tuple[str, ...]
    status: int
    seconds: float
    runs: int = 1

    @property
    def run(self) -> RunFacts | None:
        return self.facts.run


def diagnose(options: TrialOptions, show: Show, static: bool = False) -> Diagnosis:
    """Run the program in the jail `options.jail` as it is (or, `static`, only look at its files).

    Raises UsageError, KernelLacksError, InputOutputError, Interrupted.
    """
    return diagnose_root(options, show, open_jail(options.jail), static=static)


def open_jail(path: str) -> HostRoot:
    """Raises UsageError."""
    if not os.path.isdir(path):
        raise UsageError(f"{path}: no such jail", "name a directory with -j")
    return open_host_root(path)


def diagnose_root(options: TrialOptions, show: Show, root: HostRoot, above: int = -1, static: bool = False) -> Diagnosis:
    """The same, of a jail with a layer of changes `above` it; `root` shows both."""
    began = time.monotonic()
    facts = look(options, root)
    if not static and facts.program:
        work = learner(options, show, EVERY, facts.program)
        facts = replace(facts, run=run_in_jail(work, options.jail, work.launch(False, Manner.VERIFY), above))
    return judge(facts, time.monotonic() - began)


def look(options: TrialOptions, root: HostRoot) -> Facts:
    """What can be known of a jail without a run in it. Raises UsageError."""
    jail, host = View(root), View(open_host_root(options.host_root))
    user = find_identity(host.root, options.user)
    environment = caller_environment(options.environment)
    search = tuple(word or "/" for word in environment.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":"))
    program = _program(jail, options.argv[0], search, options.directory) if options.argv else ""
    mounts = tuple(JailMount(line.point, line.type, line.flags & _FLAGS, line.source) for line in jail_mounts(options.jail))
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
        mounts=mounts,
        harmless=harmless,
        withheld=frozenset(range(len(NAMES))) - CAPABILITIES,
        programs=() if options.argv else _programs(jail),
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


def judge(facts: Facts, seconds: float, runs: int = 1) -> Diagnosis:
    """What the rules make of the facts."""
    found, clear = findings(facts)
    shown = ranked(facts, found)
    dies = facts.run is not None and not facts.run.healthy
    causes = [finding for finding in shown if finding.confidence is not Confidence.POSSIBLE]
    status = 1 if causes or (dies and shown) else 3 if dies else 0
    return Diagnosis(facts, shown, clear, status, seconds, runs if facts.run is not None else 0)
