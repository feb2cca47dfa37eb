"""Libraries that a loader does not find, as ld.so(8) looks for them: one finding a library, not one a probe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from tracejail.model import EntryType

from .consequence import dies
from .execution import bring_over
from .facts import GONE, REFUSED, Call, Facts
from .finding import Action, Confidence, Finding, Kind
from .remedies import bring, bring_tree, make_directory

_NAME = re.compile(r"\.so(\.[0-9A-Za-z_.-]+)?$")
_INDEXES = ("ld.so.", "gconv-modules")     # the loader's own files, which end like a library
_LOADER = re.compile(r"ld(-[a-z0-9_-]+)?\.so\b")
_DEFAULT = re.compile(r"(/usr)?/lib(64|32|x32)?(/[a-z0-9_]+-linux-[a-z0-9]+)?$")   # directories that need no cache
_SELF = "/proc/self/exe"                   # readlink(2) of it is how $ORIGIN is known
_VERSION = re.compile(r"^(?:\S+: )?(\S+): version `([^']+)' not found", re.MULTILINE)
_SYMBOL = re.compile(r"symbol lookup error: (\S+): undefined symbol", re.MULTILINE)
_RELOCATION = re.compile(r"Error relocating (\S+?): \S+: symbol not found")
_CONVERTS = re.compile(r"conver|charset|character set|encoding|iconv|codeset", re.IGNORECASE)
_LOST_BY_LOADER = 127                      # the status that it ends with


def lost_libraries(facts: Facts) -> Iterator[Finding]:
    """A library that was looked for in every directory, and found in none."""
    probes: dict[tuple[str, str], list[Call]] = {}
    for call in facts.failed(*GONE):
        name = os.path.basename(call.path)
        if call.opens and _NAME.search(name) and not name.startswith(_INDEXES):
            probes.setdefault((call.record.program, name), []).append(call)
    opened = {
        (call.record.program, os.path.basename(call.path)) for call in facts.calls() if call.opens and not call.failed
    }
    if facts.held is not None:  # before it was looked at, or by now
        opened |= {(each.program, os.path.basename(each.path)) for each in facts.held.loaded}
    refused = {(call.record.program, os.path.basename(call.path)) for call in facts.failed(*REFUSED) if call.opens}
    for (program, name), calls in probes.items():
        if (program, name) not in opened | refused:  # one that it may not open is there
            finding = _lost(facts, program, name, calls)
            if finding is not None:
                yield finding


def _lost(facts: Facts, program: str, name: str, calls: list[Call]) -> Finding | None:
    run = facts.run
    assert run is not None
    died = any(end.program == program and end.status == _LOST_BY_LOADER for end in run.ends)
    matters = name in run.said or died
    paths = [call.path for call in calls]
    here = _anywhere(facts, name, program)
    there = (path for path in paths if facts.host.way(path).found)
    on_host = facts.host.library(name, program, facts.jail.program(program)) or next(there, "")
    if not matters and not on_host:
        return None
    confidence = Confidence.CERTAIN if matters and (here or on_host) else Confidence.LIKELY
    asked, quiet = tuple(calls), not matters
    astray = _astray(facts, program, name, calls)
    if astray is not None and matters:
        return astray
    if here:
        no_self = [call for call in facts.failed(*GONE) if call.path == _SELF and call.record.program == program]
        if no_self:
            message = f"/proc is not mounted in the jail: {program} can't tell where it lies ($ORIGIN), and does not find {name}"
            action = Action(Kind.MOUNT, "/proc", "proc")
            return Finding("origin", confidence, "/proc", message, (action,), (*no_self, *calls[:2]), (f"{here}: is there",), 15)
        message = f"{name}, which {program} needs, is in the jail at {here}, and no ld.so.cache leads its loader there"
        actions = _index(facts, os.path.dirname(here))
        return Finding("library-place", confidence, here, message, actions, asked, (f"{here}: is there",), 15, quiet)
    stale = next((path for path in paths if path in facts.jail.cached(name)), "")
    actions = bring(facts, on_host) if on_host else ()
    if actions and not _DEFAULT.match(os.path.dirname(on_host)) and on_host not in paths:
        actions = (*actions, *_index(facts, os.path.dirname(on_host)))
    where = f"the host has it at {on_host}" if on_host else "and the host has it not either"
    said = " (the jail's ld.so.cache says that it were there)" if stale else ""
    message = f"{name}, which {program} needs, is not in the jail{said}; {where}"
    return Finding("library", confidence, on_host or name, message, actions, asked, weight=15, quiet=quiet)


def _astray(facts: Facts, program: str, name: str, calls: list[Call]) -> Finding | None:
    """The library is in the jail where the host has it, beside the program ($ORIGIN); but the program is reached by a link,
    which the host has not, and the kernel says where it really lies."""
    for started in facts.calls():
        way = facts.jail.way(started.path) if started.executes and not started.failed else None
        if way is None or way.found is None or way.found.path != program:
            continue
        beside = next((path for path in facts.host.needs(started.path) if os.path.basename(path) == name), "")
        if not beside or facts.jail.way(beside).found is None:
            continue
        for link in way.links:
            host = facts.host.node(link.path)
            if host is not None and host.type is EntryType.DIRECTORY:
                return Finding(
                    "astray", Confidence.CERTAIN, link.path,
                    f"{link.path}, a directory on the host, is a link to {link.target} in the jail: {started.path} looks for "
                    f"{name} beside {program} ($ORIGIN), and not at {beside}",
                    (Action(Kind.REMOVE, link.path), Action(Kind.TREE, link.path)), tuple(calls), (f"{beside}: is there",), 20,
                )
    return None


def _index(facts: Facts, directory: str) -> tuple[Action, ...]:
    if _DEFAULT.match(directory):
        return (Action(Kind.CACHE, "/etc/ld.so.cache"),)
    line = Action(Kind.LINE, "/etc/ld.so.conf", directory)
    return (*make_directory(facts, "/etc"), line, Action(Kind.CACHE, "/etc/ld.so.cache"))


def _anywhere(facts: Facts, name: str, program: str) -> str:
    """Where in the jail such a library lies, one that the program could load."""
    want = facts.jail.program(program)
    for node in facts.jail.everything():
        named = os.path.basename(node.path) == name and node.type in (EntryType.FILE, EntryType.SYMLINK)
        if named and want.loads(facts.jail.program(node.path)):
            return node.path
    return ""


def broken_libraries(facts: Facts) -> Iterator[Finding]:
    """A library that was opened, and is empty, cut short, or none: the loader says so, or it dies of a page that is not there
    (SIGBUS)."""
    for path in _loaded(facts):
        here, there = facts.jail.program(path), facts.host.program(path)
        found = facts.jail.way(path).found
        if found is None or (here.kind == "elf" and here.whole) or not (there.kind == "elf" and there.whole):
            continue
        what = "empty" if not found.size else "no library" if here.kind != "elf" else "cut short or broken"
        yield Finding(
            "broken-library", Confidence.CERTAIN, path, f"{path} is {what} in the jail ({found.size} bytes)",
            bring_over(facts, path), tuple(call for call in facts.calls() if call.path == path)[:1], weight=15,
        )


def conversions(facts: Facts) -> Iterator[Finding]:
    """The modules by which the C library turns one character set into another, iconv(3): a directory, with its index."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        directory, name = os.path.split(call.path)
        if call.opens and name.startswith("gconv-modules") and facts.host.names(directory):
            found.setdefault(directory, []).append(call)
    said = facts.run.said if facts.run else ""
    for directory, calls in found.items():
        if facts.jail.way(f"{directory}/gconv-modules").found is not None:
            continue
        loud = dies(facts) and _CONVERTS.search(said) is not None
        yield Finding(
            "conversions", Confidence.LIKELY if loud else Confidence.POSSIBLE, directory,
            f"{directory} is not in the jail: {calls[0].record.program} can turn no other character set into its own",
            bring_tree(facts, directory), tuple(calls), weight=15, quiet=not loud,
        )


def other_versions(facts: Facts) -> Iterator[Finding]:
    """A library of the jail that is another than the host's, where the loader says that something is not in it."""
    if facts.run is None:
        return
    said = facts.run.said
    blamed = [(match[1], f"has no version {match[2]}") for match in _VERSION.finditer(said)]
    for match in (*_SYMBOL.finditer(said), *_RELOCATION.finditer(said)):
        blamed += [(path, f"lacks a symbol that {match[1]} needs") for path in _loaded(facts) if path != match[1]]
    for path, what in blamed:
        found = facts.jail.way(path).found
        if found is None or facts.host.way(path).found is None or facts.jail.same(path, facts.host):
            continue
        yield Finding(
            "library-version", Confidence.CERTAIN, path, f"{path} in the jail is another than the host's, and {what}",
            bring_over(facts, path), evidence=(f"{found.path}: {found.size} bytes",), weight=15,
        )


def _loaded(facts: Facts) -> list[str]:
    return list(dict.fromkeys(
        call.path for call in facts.calls() if call.opens and not call.failed and _NAME.search(call.path)
    ))


def static_libraries(facts: Facts) -> Iterator[Finding]:
    """What the loader would not find, by the files of the jail alone."""
    if facts.run is not None:
        return
    for program in (facts.program,) if facts.program else facts.programs:
        own = facts.jail.program(program)
        found = facts.jail.lost(program)
        known = {lost.name for lost in facts.host.lost(program)} if found and not facts.argv else set()
        for lost in found:
            if lost.name in known or (_LOADER.match(lost.name) and facts.jail.way(own.interpreter).found is None):
                continue  # nobody asked for it, and it is no better on the host; or it is the loader, which is lost as such
            on_host = facts.host.library(lost.name, program, own)
            where = f"the host has it at {on_host}" if on_host else "and the host has it not either"
            yield Finding(
                "library", Confidence.CERTAIN if on_host else Confidence.LIKELY, on_host or lost.name,
                f"{lost.name}, which {lost.needed_by} needs, is not in the jail; {where}",
                bring(facts, on_host) if on_host else (),
                evidence=(f"{lost.needed_by}: DT_NEEDED {lost.name}",),
            )

