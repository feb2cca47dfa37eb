"""A manifest as the host has its files now: the entries renewed, what patched files need added, what is needed no more gone."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tracejail.assemble import host_identity, with_packages, with_parents
from tracejail.contents import with_digests
from tracejail.drift.nouns import Drift, Kind
from tracejail.errors import InputOutputError
from tracejail.jail.tree import open_tree
from tracejail.looking import Look
from tracejail.missing import check_there, staying
from tracejail.model import Content, Entry, EntryType, JailPath, Manifest, Origin
from tracejail.needs import Needs, needs
from tracejail.resolve.host import HostNode, HostRoot, inspect, xattrs
from tracejail.resolve.packages import Owner
from tracejail.trial.supply import Rules
from tracejail.trial.target import new_supply
from tracejail.trial.walk import Place, parent_of

_ORIGINS = {
    "elf-needed": Origin.ELF_NEEDED, "elf-interpreter": Origin.ELF_INTERPRETER, "script-interpreter": Origin.SCRIPT_INTERPRETER,
}


@dataclass(frozen=True, slots=True)
class Renewed:
    """The manifest that the jail is to have; what of the drift stays (`kept`), and why; in `needs` who needs whom. `held` is
    what must be held with that: files whose new needs can't be had."""

    manifest: Manifest
    kept: tuple[Drift, ...]
    needs: Needs
    held: Mapping[str, Drift] = field(default_factory=dict)


def renewed(
    found: Look, host: HostRoot, packages: Mapping[str, Owner], hold: Mapping[str, Drift] | None = None, force: bool = False
) -> Renewed:
    """The manifest of a look as the host is now. `packages` as for look(). What is in `hold` is left as it was, and what is
    gone from the host but should be there is too, unless `force`.

    Raises InputOutputError: a source can't be read, or the program itself is gone.
    """
    before: dict[str, Entry] = {entry.path: entry for entry in found.manifest.entries}
    stay = {row.path: row for row in found.rows if row.kind in (Kind.DENIED, Kind.SHAPE)} | dict(hold or {})
    gone = [row.path for row in found.rows if row.kind is Kind.HOST_GONE and row.path not in stay]
    check_there(before, [row.path for row in found.rows if row.kind is Kind.HOST_GONE])
    entries = {path: entry for path, entry in before.items() if path not in gone}
    changed = []
    patched = {row.path for row in found.rows if row.kind is Kind.PATCHED}
    for path in sorted(found.touched):
        node = inspect(host, JailPath(path)) if path in entries and path not in stay else None
        if node is not None:
            entries[path] = _renewed(host, entries[path], node)
            if path in patched:
                changed.append(path)
    asked = needs(host, entries, changed, [path for path in gone if before[path].type is not EntryType.DIRECTORY])
    rows = {row.path: row for row in staying(before, gone, asked, packages, force)}
    entries |= {path: before[path] for path in rows}
    lost = [Drift(row.path, Kind.NEED, f"needed by {row.needed_by}, and not on the host") for row in asked.lost]
    fresh, refused = _brought(host, found.manifest, entries, asked)
    entries |= fresh
    if changed or gone:
        _drop_unneeded(entries, asked, {*stay, *rows})
    entries = _with_directories(host, entries, before)
    written = {place.path for place in found.manifest.written}
    as_before = {path: before[path] for path in before if path in stay or path in rows or path in written}
    manifest = _assembled(found.manifest, host, entries, as_before, packages)
    kept = (*stay.values(), *rows.values(), *lost, *refused)
    held = rows | {row.path: row for row in (*lost, *refused)}
    held |= dict(_incomplete(changed, before, asked, {row.path for row in refused}))
    return Renewed(manifest, kept, asked, held)


def _incomplete(
    changed: Iterable[str], before: Mapping[str, Entry], asked: Needs, refused: Collection[str]
) -> Iterator[tuple[str, Drift]]:
    """The patched files of which not all that they need anew can come: without it they might not start at all."""
    missing = {row.path: row for row in (*asked.lost, *asked.new)}
    bad = {*refused, *(row.path for row in asked.lost)}
    for path in dependents(bad, asked).intersection(changed):
        need = next((row.path for row in missing.values() if row.path in bad and row.needed_by == path), min(bad))
        words = f"the old one is kept, as the new one needs {need}, which can't be had"
        yield path, Drift(path, Kind.PATCHED, words, before[path].package, before[path].version)


def dependents(paths: Iterable[str], asked: Needs) -> set[str]:
    """What needs one of the paths anew, itself or by what it needs."""
    found = set(paths)
    while True:
        more = {row.needed_by for row in (*asked.new, *asked.lost) if row.path in found} - found
        if not more:
            return found
        found |= more


def _renewed(host: HostRoot, entry: Entry, node: HostNode) -> Entry:
    """An entry as the host has it now. Its digest is left open, but of what is made, and a link has none."""
    is_file = node.type is EntryType.FILE
    mode = node.mode & ~0o6000 | node.mode & entry.mode & 0o6000 if is_file else node.mode
    same = replace(
        entry, type=node.type, mode=0o777 if node.type is EntryType.SYMLINK else mode, uid=node.uid, gid=node.gid,
        target=node.target, device=node.device,
    )
    if not is_file:
        return replace(same, size=0, mtime_ns=0, sha256="", content=Content.HOST, xattrs=(), hard_link="")
    if entry.content is not Content.HOST:
        return replace(same, xattrs=xattrs(host, entry.path) if entry.content is not Content.EMPTY else ())
    return replace(same, size=node.size, mtime_ns=node.mtime_ns, sha256="", xattrs=xattrs(host, entry.path))


def _brought(
    host: HostRoot, manifest: Manifest, entries: dict[str, Entry], asked: Needs
) -> tuple[dict[str, Entry], list[Drift]]:
    """The entries of what is needed anew, with the links and directories that lead there; and what the policy keeps out."""
    if not asked.new:
        return {}, []
    supply = new_supply(host, open_tree(host.fd, "the host: "), Rules(accounts_whole=manifest.accounts.everything))
    supply.on_paper = True
    supply.supplied.update(entries)
    kept = []
    for row in sorted(asked.new, key=lambda row: row.how == "symlink"):
        found = supply.resolve("/", "/", row.path, follow=True)
        if found.place is not Place.FOUND:
            continue
        refusal = supply.refusal(found)
        if refusal is not None:
            kept.append(Drift(refusal.path, Kind.DENIED, f"needed by {row.needed_by}: {refusal.reason}"))
            continue
        supply.bring(found)
        # What a link leads to is there for the reason that the link is there for.
        led = entries.get(row.needed_by)
        led = led if led and led.type is EntryType.SYMLINK else None
        origin = _ORIGINS.get(row.how) or (led.origin if led and led.origin is not Origin.SYMLINK else Origin.ELF_NEEDED)
        by = entries.get(row.needed_by) or supply.ledger.entries.get(row.needed_by)
        supply.note(found, origin, by.because if led and by else None, led.kind if led else None, via=row.needed_by)
    return {path: entry for path, entry in supply.ledger.entries.items() if path not in entries}, kept


def _drop_unneeded(entries: dict[str, Entry], asked: Needs, stay: Collection[str]) -> None:
    """What only the files themselves asked for, and ask for no more; and links that led to it."""
    # A file that stays as it is may need what its namesake on the host does not.
    stays = {entry.via for entry in entries.values()}.intersection(stay)
    wanted = {row.path for row in asked.rows} | {path for path, entry in entries.items() if entry.via in stays} | set(stay)
    dropped = {path for path, entry in entries.items() if entry.origin is Origin.ELF_NEEDED and path not in wanted}
    for path in dropped:
        del entries[path]
    dangling = [
        path for path, entry in entries.items()
        if entry.origin is Origin.SYMLINK and path not in wanted
        and os.path.normpath(os.path.join(parent_of(path), entry.target)) in dropped
    ]
    for path in dangling:
        del entries[path]


def _with_directories(host: HostRoot, entries: dict[str, Entry], before: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries with all directories above them; of one that is gone from the host the former."""
    whole = with_parents(host, entries)
    for path in list(whole):
        above = parent_of(path)
        while above != "/" and above not in whole:
            if above not in before:
                raise InputOutputError(f"{above}: is no directory on the host any more", "learn it again")
            whole[above] = before[above]
            above = parent_of(above)
    return whole


def _assembled(
    manifest: Manifest, host: HostRoot, entries: Mapping[str, Entry], as_before: Mapping[str, Entry],
    packages: Mapping[str, Owner],
) -> Manifest:
    """`as_before` are entries that the host's files have no say in: those that are written to, and those that stay."""
    fresh = [entry for path, entry in entries.items() if path not in as_before]
    stays = [entry for path, entry in as_before.items() if path in entries]
    done = [*with_digests(host, fresh, manifest.accounts, stays), *stays]
    done = [replace(entry, hard_link="") if entry.hard_link and entry.hard_link not in entries else entry for entry in done]
    identity = replace(host_identity(host), kernel=manifest.host.kernel, architecture=manifest.host.architecture)
    made = replace(manifest, host=identity, entries=tuple(sorted(done, key=lambda entry: entry.path)))
    if not packages:
        return made
    known = dict.fromkeys((entry.path for entry in manifest.entries), ("", "")) | dict(packages)
    known |= {path: (entry.package, entry.version) for path, entry in as_before.items()}
    return with_packages(host, made, known)
