"""What no run needed, what is older than the host's, what was not looked at, and packages with known holes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from tracejail.model import EntryType

from . import cure
from .advisory import Package, open_ones
from .facts import Facts, Item
from .remedy import quoted
from .weakness import Severity, Weakness

_URGENCY = {"high": Severity.HIGH, "medium": Severity.MEDIUM, "low": Severity.LOW, "unimportant": Severity.INFO}
_MOST = 3


def unneeded(facts: Facts) -> tuple[Item, ...]:
    """Of what the manifest does not have the topmost objects: not what lies in a place that is written, nor a mount, nor what
    is above either of them."""
    if facts.manifest is None:
        return ()
    kept = {*facts.entries, *facts.written, *(mount.path for mount in facts.mounts),
            *(mount.path for mount in facts.manifest.mounts)}
    kept |= {note.path for note in facts.manifest.sockets}
    needed: set[str] = set()
    for path in kept:
        while path != "/" and path not in needed:
            needed.add(path)
            path = posixpath.dirname(path)
    mounted = tuple(mount.path for mount in facts.mounts if mount.path != "/")
    found: list[Item] = []
    done: set[str] = set()
    for item in sorted(facts.items, key=lambda each: each.path.split("/")):
        if posixpath.dirname(item.path) in done:
            done.add(item.path)
        elif item.path not in needed and not facts.is_written(item.path) and not any(
            f"{item.path}/".startswith(f"{place}/") for place in mounted
        ):
            done.add(item.path)
            found.append(item)
    return tuple(found)


def not_needed(facts: Facts) -> Iterator[Weakness]:
    """As findings, with what lies beneath counted."""
    found = unneeded(facts)
    counts = {item.path: [0, 0] for item in found}
    for item in facts.items if found else ():
        path = item.path
        while path != "/" and path not in counts:
            path = posixpath.dirname(path)
        if path in counts:
            counts[path][0] += 1
            counts[path][1] += item.size if item.type is EntryType.FILE else 0
    for item in found:
        count, size = counts[item.path]
        beneath = f", with {count - 1} more beneath" if count > 1 else ""
        yield Weakness(
            "not-needed", Severity.LOW, item.path, f"{item.path} was needed by no run{beneath}",
            "what is not there can't be used", (f"{size} bytes", item.standing),
            (f"tracejail audit --remove -m {quoted(facts.manifest_path)} {quoted(facts.jail)}",),
        )


def stale(facts: Facts) -> Iterator[Weakness]:
    """Programs and libraries that are not those of the host any more."""
    for item in facts.files:
        if item.contents.stale:
            yield Weakness(
                "stale", Severity.LOW, item.path, f"{item.path} is another than the host has now",
                "a hole that was mended on the host since is still open here", (f"{item.size} bytes",),
                (f"tracejail update {quoted(facts.manifest_path)}",) if facts.manifest_path
                else cure.change(facts, f"cp -aT --remove-destination -- {quoted(item.path)}", item.path),
            )


def not_looked_at(facts: Facts) -> Iterator[Weakness]:
    """What is too deep or too large to be looked at."""
    for each in facts.clipped:
        yield Weakness(
            "not-looked-at", Severity.HIGH if each.limit else Severity.LOW, each.path,
            f"{each.path} was not looked at: {each.why}", "anything may be hidden there", (), (f"# {each.remedy}",),
        )
    for item in facts.files:
        if item.contents.unread:
            refused = "read" in item.contents.unread
            yield Weakness(
                "not-looked-at", Severity.HIGH if item.contents.limit else Severity.LOW, item.path,
                f"{item.path} was not looked at whole: {item.contents.unread}",
                "anything may be hidden there", (f"{item.size} bytes",),
                ("# run it as root" if refused else f"# look at it by other means: file -- {facts.quoted(item.path)}",),
            )


def _upgrade(facts: Facts, package: Package) -> tuple[str, ...]:
    command = f"apt-get install --only-upgrade {quoted(package.name.partition(':')[0])}"
    if package.inside:
        return (f"chroot {quoted(facts.jail)} {command}",)
    if facts.manifest_path:
        return command, f"tracejail update {quoted(facts.manifest_path)}"
    return command, f"# and bring its files over to {quoted(facts.jail)}"


def advisories(facts: Facts) -> Iterator[Weakness]:
    """Packages of which an advisory is open."""
    for package in facts.packages:
        for row in open_ones(package, facts.advisories.get(package.source, ())):
            fixed = f"; {row.fixed} is without it" if row.fixed else "; no version is without it yet"
            urgency = row.urgency.rstrip("*").lower()
            upgrade = _upgrade(facts, package)
            yield Weakness(
                "advisory", _URGENCY.get(urgency, Severity.MEDIUM), package.paths[0] if package.paths else "/",
                f"{row.number}: {package.name} {package.version}{fixed}",
                row.description[:160] or "a hole that is publicly known",
                (f"source package {package.source} {package.source_version}, urgency {row.urgency or 'not told'}",
                 *(f"in the jail: {path}" for path in package.paths[:_MOST])),
                upgrade if row.fixed else ("# nothing yet: look at the advisory for what helps meanwhile",),
            )
