"""Listings: what the host has in a directory is shown in the trial, with true types, sizes and times and without bytes.

A program that reads names and looks only at those that it read would never miss one.
"""

from __future__ import annotations

from tracejail.jail import tree as jail_tree
from tracejail.jail.tree import Attributes
from tracejail.model import Because, EntryType, JailPath, MissKind, Origin
from tracejail.resolve.host import ClosedError, HostNode, inspect, names, open_names
from tracejail.resolve.policy import judge

from .stand_ins import StandIns
from .supply import StandIn, Supply, attributes_of
from .walk import Place, join


def show(supply: Supply, directory: str) -> int:
    """A directory is about to be read: stock it, and remember that its names were seen. How many of them are the
    host's; 0 if that was remembered already."""
    if directory in supply.listed:
        return 0
    stock(supply, directory)
    supply.listed[directory] = supply.stocked[directory]
    return supply.listed[directory]


def stock(supply: Supply, directory: str) -> None:
    """Put the host's names into a directory, with their true types, sizes and times and without their bytes."""
    if directory in supply.stocked:
        return
    supply.stocked[directory] = 0
    node = inspect(supply.host, JailPath(directory))
    if node is None or node.type is not EntryType.DIRECTORY or node.virtual or supply.excluded(directory):
        return
    here = jail_tree.look(supply.tree, directory, target=False)
    if here is None or here.type is not EntryType.DIRECTORY or supply.was_removed(directory):
        return  # it was moved away since
    try:
        own = names(supply.host, JailPath(directory))
    except ClosedError:
        supply.warnings[f"{directory}: this user may not read its names on the host; none were shown"] = None
        return
    most = supply.rules.max_names
    if len(own) > most:
        supply.warnings[f"{directory}: only {most} of its {len(own)} names were shown (--max-names)"] = None
    for name in own[:most]:
        path = join(directory, name)
        if jail_tree.look(supply.tree, path) is None and not supply.excluded(path):
            child = inspect(supply.host, JailPath(path))
            if child is not None and not child.closed and _show_one(supply, child):
                supply.shown.add(path)
                if supply.watch:
                    _watch_shown(supply, supply.watch, child)
                supply.stocked[directory] += 1
    if supply.stocked[directory]:
        _restore_time(supply, node)


def _watch_shown(supply: Supply, watch: StandIns, node: HostNode) -> None:
    stand_in = supply.stand_ins.get(node.path)
    if stand_in is None:
        seen = jail_tree.look(supply.tree, node.path, target=False)
        if seen is not None:
            watch.shown(node.path, seen.inode, node.type)
    elif not watch.shown(node.path, stand_in.inode, node.type):
        supply.fill(node.path)


def _show_one(supply: Supply, node: HostNode) -> bool:
    if node.type in (EntryType.CHARACTER, EntryType.BLOCK):
        return judge(JailPath(node.path), node, b"", supply.rules.allows).allowed and supply.bring_one(node)
    if node.type is not EntryType.FILE:
        # A mount point shows as the directory that it is, whatever is mounted there.
        return supply.bring_one(node)
    entry = supply.bare(node)
    try:
        inode = jail_tree.make_stand_in(supply.tree, node.path, node.size, attributes_of(node, entry))
    except FileExistsError:
        return False
    supply.supplied[node.path] = entry
    supply.stand_ins[node.path] = StandIn(node, inode)
    return True


def bring_beneath(supply: Supply, directory: str, because: Because, most: int) -> None:
    """What the host has beneath a directory that came from it, whole, and noted as asked for; so many objects at most."""
    if directory not in supply.supplied or directory in supply.whole:
        return
    if most > 1:
        supply.whole.add(directory)
    pending = [directory]
    while pending:
        above = pending.pop()
        node = inspect(supply.host, JailPath(above))
        if node is None or node.type is not EntryType.DIRECTORY or node.virtual or supply.excluded(above):
            continue
        for name in open_names(supply.host, JailPath(above)):
            if most <= 0:
                if directory in supply.whole:
                    supply.warnings[f"{directory}: not all that is in it came along (--max-names)"] = None
                return
            most -= 1
            found = supply.resolve("/", "/", join(above, name), follow=False)
            if found.place is not Place.FOUND or supply.refusal(found):
                continue
            supply.bring(found)
            supply.fill(found.path)
            supply.note(found, Origin.MISS, because, MissKind.ABSENT)
            pending.append(found.path)
        _restore_time(supply, node)


def _restore_time(supply: Supply, node: HostNode) -> None:
    jail_tree.set_directory(supply.tree, node.path, Attributes(node.mode, node.uid, node.gid, node.mtime_ns))


def note_silent_uses(supply: Supply) -> None:
    """After a run: links that were shown and followed to what was there already, and directories that were shown and
    written into. No call failed for them and no stand-in was opened: the kernel set their times (MNT_RELATIME)."""
    for path in sorted(supply.shown):
        seen = jail_tree.look(supply.tree, path, target=False)
        node = inspect(supply.host, JailPath(path)) if seen is not None else None
        if seen is None or node is None or seen.type is not node.type:
            continue
        followed = seen.type is EntryType.SYMLINK and seen.accessed_ns != seen.modified_ns
        written = seen.type is EntryType.DIRECTORY and seen.modified_ns != node.mtime_ns
        if followed or written:
            led = supply.ledger.entries.get(supply.resolve("/", "/", path, follow=True).path) if followed else None
            because = led.because if led else None
            supply.note(supply.resolve("/", "/", path, follow=False), Origin.MISS, because, MissKind.ABSENT)
