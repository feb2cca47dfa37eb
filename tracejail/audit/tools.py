"""What an intruder can run: shells, interpreters, and the tools that carry things in and out."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from tracejail.model import EntryType, Origin

from . import cure
from .facts import Facts, Item, Known
from .naming import by_name
from .remedy import quoted
from .table import Family, Tool
from .weakness import Severity, Weakness

_BAD: dict[Family, tuple[Severity, str, str]] = {
    Family.SHELL: (Severity.HIGH, "a shell", "whoever can make the program start it has a command line in the jail"),
    Family.INTERPRETER: (Severity.HIGH, "an interpreter", "it runs any program that an intruder writes, and opens sockets"),
    Family.COMPILER: (Severity.HIGH, "a compiler's", "exploits are built on the spot, for this very kernel"),
    Family.MULTI_CALL: (Severity.HIGH, "a multi-call binary", "it is a shell and all usual tools in one file"),
    Family.TRANSFER: (Severity.MEDIUM, "a tool that transfers files", "it brings an intruder's tools in, and carries data out"),
    Family.EDITOR: (Severity.MEDIUM, "an editor or pager", "it changes files, and many start a command"),
    Family.PRIVILEGE: (Severity.MEDIUM, "a tool of administrators", "it changes owners, modes, mounts or users for root"),
    Family.TRACER: (Severity.MEDIUM, "a tool that looks into programs", "it reads the memory of others, or takes programs apart"),
    Family.PACKAGES: (Severity.MEDIUM, "a package tool", "it installs whatever else is wanted"),
    Family.FILES: (Severity.LOW, "a tool for files", "it reads, copies or finds files for an intruder, or starts programs"),
    Family.NETWORK: (Severity.LOW, "a tool for networks or servers", "it looks around in the network and talks to other servers"),
}
_BINS = ("bin", "sbin")
_MOST = 40   # applets that are named


def tools(facts: Facts) -> Iterator[Weakness]:
    """Files that are tools by their bytes, by the host's file of the same bytes, or by a name of theirs."""
    for item in facts.files:
        found: dict[Tool, Known] = {}
        for known in item.contents.known:
            found.setdefault(known.tool, known)
        families = {tool.family for tool in found}
        named = by_name(posixpath.basename(item.path)) if _is_run(item) else None
        if named is not None and named.family not in families:
            found[named] = Known(named, "that is its name")
        for family in dict.fromkeys(tool.family for tool in found):
            ways = [known for known in found.values() if known.tool.family is family]
            yield _told(facts, item, ways)


def _is_run(item: Item) -> bool:
    """Whether a name says what it is: of a program, and where programs are looked for, of a script too."""
    among_programs = posixpath.basename(posixpath.dirname(item.path)) in _BINS
    return item.contents.kind == "program" or (among_programs and bool(item.mode & 0o111))


def _told(facts: Facts, item: Item, ways: list[Known]) -> Weakness:
    tool, applets = ways[0].tool, ways[0].applets
    severity, what, reason = _BAD[tool.family]
    links = facts.links_to.get(item.path, [])
    others = (known for known in ways[1:] if known.tool.name != tool.name)
    evidence = [ways[0].how, *(f"{known.tool.name}: {known.how}" for known in others)]
    if applets:
        evidence.append(f"inside are {' '.join(applets[:_MOST])}")
    names = [name for name in facts.names.get(item.inode, ()) if name != item.path]
    if names:
        evidence.append(f"hard links: {' '.join(names[:5])}")
    if links:
        evidence.append(f"links that lead to it: {' '.join(links[:5])}")
    need = facts.need((item.path, *links))
    name = posixpath.basename(item.path)
    called = tool.name if tool.name == name or tool.name.startswith("a ") else f"{tool.name}, called {name}"
    return Weakness(
        tool.family.value, severity, item.path, f"{item.path} is {what} ({called})",
        reason + (", and starts programs" if tool.escapes and tool.family is not Family.SHELL else ""),
        (*evidence, *need), _remedy(facts, item, links, bool(need)),
    )


def _remedy(facts: Facts, item: Item, links: list[str], needed: bool) -> tuple[str, ...]:
    if needed:
        if any(entry.origin is Origin.ARGV for path in (item.path, *links) if (entry := facts.entries.get(path)) is not None):
            return ("# it is the program that the jail is for",)
        why = f"tracejail why {quoted(facts.manifest_path)} {quoted(item.path)}" if facts.manifest_path else ""
        return (f"# a run needed it: start the program without it, or leave it{'; who needs it: ' if why else ''}{why}",)
    return cure.remove(facts, item.path, *(link for link in links if facts.entries.get(link) is None))


def applet_links(facts: Facts) -> Iterator[Weakness]:
    """Names of tools that lead to a file which is not known as that tool: applets, or a program that hides behind a link."""
    for item in facts.items:
        if item.type is not EntryType.SYMLINK:
            continue
        tool = by_name(posixpath.basename(item.path))
        end = facts.end(item.path) if tool is not None else None
        if tool is None or end is None or end.type is not EntryType.FILE or not end.mode & 0o111:
            continue
        families = {known.tool.family for known in end.contents.known}
        named = by_name(posixpath.basename(end.path))
        families |= {named.family} if named is not None else set()
        if tool.family in families or tool.family is Family.MULTI_CALL:
            continue
        severity, what, reason = _BAD[tool.family]
        multi = Family.MULTI_CALL in families
        yield Weakness(
            tool.family.value, Severity.LOW if multi else severity, item.path,
            f"{item.path} is {what} ({tool.name}): it leads to {end.path}", reason,
            (f"{item.path} -> {item.target}", *facts.need((item.path,))), cure.remove(facts, item.path),
        )


def odd_headers(facts: Facts) -> Iterator[Weakness]:
    """Programs that the kernel starts, and that tools which read ELF files take for something else."""
    for item in facts.files:
        if item.contents.odd and item.mode & 0o111:
            yield Weakness(
                "odd-header", Severity.MEDIUM, item.path, f"{item.path} can be executed, and its header says what it is not",
                "the kernel does not look at those bytes of it: who changed them did so to hide it", (item.standing,),
                cure.remove(facts, item.path),
            )
