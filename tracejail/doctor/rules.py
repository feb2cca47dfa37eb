"""All rules, in the order in which they are asked; a new rule is a function in a file of its family, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from . import (
    accounts,
    compared,
    configured,
    contents,
    denied,
    devices,
    directories,
    execution,
    fallback,
    inspection,
    libraries,
    limits,
    listings,
    lookups,
    powers,
    refused,
    resolution,
    running,
    sockets,
    sought,
)
from .facts import Facts
from .finding import Finding
from .inner import around, inside, outside_only, placed, roots


def _always(_: Facts) -> bool:
    return True


def _calls(facts: Facts) -> bool:
    return facts.run is not None and facts.run.listened


def _from_its_start(facts: Facts) -> bool:
    return facts.held is None


def _from_its_middle(facts: Facts) -> bool:
    return facts.held is not None


class Rule(NamedTuple):
    """A rule: `clear` is what can be said where it finds nothing, and was `asked` of such a run."""

    find: Callable[[Facts], Iterable[Finding]]
    clear: str
    asked: Callable[[Facts], bool] = _calls


RULES: tuple[Rule, ...] = (
    Rule(execution.named_program, "the program is there and can be executed", _from_its_start),
    Rule(execution.execution, "each program that was started has its interpreter, and the right architecture"),
    Rule(sought.sought, "each program that was looked for along PATH was found"),
    Rule(libraries.lost_libraries, "each library that was looked for was found"),
    Rule(libraries.broken_libraries, "each library that was opened is whole"),
    Rule(libraries.conversions, "character sets can be converted"),
    Rule(libraries.other_versions, "no library is of another version"),
    Rule(libraries.static_libraries, "each library that a file names is where the loader looks", _from_its_start),
    Rule(devices.missing, "each device that was used is there"),
    Rule(devices.replaced, "what is in /dev is what the host has there", _always),
    Rule(devices.nodev, "devices can be opened where they are"),
    Rule(devices.links, "the links of /dev lead somewhere"),
    Rule(devices.terminals, "pseudo terminals can be had"),
    Rule(devices.kernels, "nothing was looked for in a /proc or /sys that is not mounted"),
    Rule(denied.modes, "owners and modes let the program do what it wanted"),
    Rule(denied.read_only, "nothing was to be written to a mount that is read-only"),
    Rule(denied.not_mapped, "each library could be mapped to be executed"),
    Rule(refused.unchangeable, "no file that was to be changed is immutable or append-only"),
    Rule(refused.confined, "no security module refused a call"),
    Rule(powers.capabilities, "no call lacked a capability"),
    Rule(powers.filters, "no seccomp filter refused a call"),
    Rule(powers.killed, "no seccomp filter killed a process"),
    Rule(limits.limits, "no limit was met"),
    Rule(limits.space, "no file system that is written to is full"),
    Rule(directories.for_all, "the directories for temporary files are there, and open to all"),
    Rule(directories.empty, "no directory that was listed is empty where the host's is not"),
    Rule(directories.included, "each directory that was to be listed is there"),
    Rule(directories.wanted, "each directory that the program asks for is there"),
    Rule(directories.standings, "the program said nothing of owners and modes"),
    Rule(running.root_gone, "its root directory is still there", _from_its_middle),
    Rule(running.programs, "what it has loaded is still what its root has", _from_its_middle),
    Rule(running.devices, "it has no file open in place of a device", _from_its_middle),
    Rule(running.logs, "the files that it appends to are still there", _from_its_middle),
    Rule(configured.configured, "no directory that its configuration names is empty where the host's is not", _from_its_middle),
    Rule(running.talks, "the services that it is connected to still listen", _from_its_middle),
    Rule(running.silent_log, "", _from_its_middle),
    Rule(sockets.absent, "each socket that was looked for is there"),
    Rule(sockets.stale, "somebody listens on each socket that was used"),
    Rule(sockets.no_socket, "what was used as a socket is one"),
    Rule(inspection.dangling, "no link leads out of the jail", _from_its_start),
    Rule(inspection.stale_index, "ld.so.cache leads to libraries that are there", _from_its_start),
    Rule(inspection.login_modules, "the modules of pam.d are there", _from_its_start),
    Rule(inspection.trust, "no bundle of certificates is empty", _from_its_start),
    Rule(resolution.resolution, "the files that say how names of hosts are found are there"),
    Rule(resolution.services, "the services that names are looked up by are those of the host"),
    Rule(contents.hollow, "no file that was read is empty where the host's is not"),
    Rule(listings.unlisted, "no name that it said is of a directory which has it on the host alone"),
    Rule(compared.fewer_names, "each directory that was listed has the names that are used on the host"),
    Rule(compared.other_contents, "each file that was read is as on the host"),
    Rule(lookups.astray, "no link leads to itself, and each directory on the way is one"),
    Rule(accounts.accounts, "no account that it spoke of is known to the host alone"),
    Rule(fallback.fallbacks, "no default was read in the place of what the host has"),
    Rule(lookups.nowhere, "it complains of no path that is nowhere"),
    Rule(lookups.parent, "each directory in which something was made is there"),
    Rule(lookups.absent, "nothing that the host has was looked for in vain"),
)


def findings(facts: Facts) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """What all rules find, and what is ruled out."""
    found: list[Finding] = []
    clear: list[str] = []
    whole, within = around(facts), [(root, inside(facts, root)) for root in roots(facts)]
    for rule in RULES:
        if not rule.asked(facts):
            continue
        own = list(rule.find(whole))
        for root, inner in within:
            own += [there for finding in rule.find(inner) for there in placed(facts, finding, root)]
        found += own
        if not own and rule.clear:
            clear.append(rule.clear)
    found += outside_only(facts)
    return tuple(found), tuple(clear)
