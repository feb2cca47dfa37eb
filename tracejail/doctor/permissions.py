"""Who may do what, by owners and modes alone (path_resolution(7), "Permissions"): pure."""

from __future__ import annotations

from collections.abc import Collection

from tracejail.model import EntryType

from .facts import Node, Way

READ, WRITE, EXECUTE = 4, 2, 1


def closed_to(way: Way, uid: int, groups: Collection[int], want: int, root_may: bool = True) -> Node | None:
    """The first object on a way that keeps a user from what it wants of the last one (bits of access(2)): a directory that
    can't be searched, or the object itself. `root_may`: user 0 has the capabilities to pass all of them."""
    if uid == 0 and root_may:
        return None
    for hop in way.hops:
        if hop.type is EntryType.SYMLINK:
            continue
        last = hop.path == way.found.path if way.found is not None else False
        need = want if last else EXECUTE if hop.type is EntryType.DIRECTORY else 0
        if need & ~granted(hop, uid, groups):
            return hop
    return None


def granted(node: Node, uid: int, groups: Collection[int]) -> int:
    """The bits of access(2) that a user's share of a mode has."""
    if node.uid == uid:
        return node.mode >> 6 & 7
    return node.mode >> 3 & 7 if node.gid in groups else node.mode & 7
