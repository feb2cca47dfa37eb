"""A jail's tree gathered for audit: each object once, by directory descriptors, nothing followed and nothing of it run."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tracejail.audit.facts import Grant, Item, Unseen
from tracejail.errors import InputOutputError
from tracejail.kernel.capabilities import NAMES
from tracejail.model import EntryType, HostPath, JailPath
from tracejail.resolve.host import HostRoot, inspect, names, open_directory, xattrs

from .searched import Search

_DEEPEST = 256          # directories: one descriptor is open for each
_MOST = 300_000         # objects
_AS_ROOT = "run it as root"
_SMALLER = "look at parts of it: tracejail audit JAIL/DIR"
# Not the kernel's own: another program, or another host, makes up what is there, and may let whoever reads it wait.
_MADE_UP = ("fuse", "autofs")
_ACL_USER, _ACL_GROUP, _ACL_MASK, _ACL_WRITE = 0x02, 0x08, 0x10, 2


@dataclass(slots=True)
class Survey:
    """One walk through a jail."""

    search: Search
    items: list[Item] = field(default_factory=list)
    clipped: list[Unseen] = field(default_factory=list)

    def walk(self, root: HostRoot) -> None:
        """Gather all beneath a root. Raises InputOutputError where the root can't be read."""
        levels: list[tuple[HostRoot, str, Iterator[str]]] = [(root, "", iter(names(root, JailPath("/"))))]
        try:
            while levels:
                directory, path, rest = levels[-1]
                name = next(rest, None)
                if name is None:
                    levels.pop()
                    if directory is not root:
                        os.close(directory.fd)
                    continue
                if len(self.items) >= _MOST:
                    self.clipped.append(Unseen(path or "/", f"nor was the rest of the jail: it has more than {_MOST} objects",
                                               _SMALLER, True))
                    return
                item = self._look(directory, name, f"{path}/{name}")
                if item is None:
                    continue
                self.items.append(item)
                if item.foreign in _MADE_UP:
                    why = f"it is on a file system of another program's making ({item.foreign})"
                    self.clipped.append(Unseen(item.path, why, "umount it, or look at what it is made of", True))
                if item.type is EntryType.DIRECTORY and not item.foreign:
                    if len(levels) >= _DEEPEST:
                        self.clipped.append(Unseen(item.path, "it is too deep", "move what is there up", True))
                        continue
                    below = _entered(directory, name)
                    if below is None:
                        self.clipped.append(Unseen(item.path, "it can't be read", _AS_ROOT))
                    else:
                        levels.append((below[0], item.path, iter(below[1])))
        finally:
            for directory, _, _ in levels:
                if directory is not root:
                    os.close(directory.fd)

    def _look(self, directory: HostRoot, name: str, path: str) -> Item | None:
        try:
            node = inspect(directory, JailPath(name))
        except (InputOutputError, OSError):
            self.clipped.append(Unseen(path, "it can't be read", _AS_ROOT))
            return None
        if node is None:
            return None   # it went away in this moment
        if node.closed:
            self.clipped.append(Unseen(path, "it can't be read", _AS_ROOT))
            return None
        item = Item(
            path, node.type, node.mode, node.uid, node.gid, node.size, node.target, node.device, node.inode, node.links,
            node.virtual,
        )
        if node.virtual or node.type not in (EntryType.FILE, EntryType.DIRECTORY):
            return item
        attributes = dict(xattrs(directory, JailPath(name)))
        if attributes:
            item = replace(
                item, capabilities=_capabilities(attributes.get("security.capability", "")),
                grants=_grants(attributes.get("system.posix_acl_access", "")),
            )
        if node.type is EntryType.FILE and node.size:
            item = replace(item, contents=self.search.read(directory, name, path, node))
        return item


def _entered(directory: HostRoot, name: str) -> tuple[HostRoot, list[str]] | None:
    """A directory and its names; None where it can't be read."""
    try:
        below = open_directory(directory, JailPath(name))
    except (InputOutputError, OSError):
        return None
    try:
        return HostRoot(HostPath(""), below.fd, directory.types), names(below, JailPath("."))
    except (InputOutputError, OSError):
        os.close(below.fd)
        return None


def _capabilities(value: str) -> tuple[str, ...]:
    """Of struct vfs_cap_data (linux/capability.h), the permitted and inheritable ones."""
    data = bytes.fromhex(value)
    words = [struct.unpack_from("<II", data, at) for at in (4, 12) if len(data) >= at + 8]
    bits = sum((permitted | inheritable) << 32 * index for index, (permitted, inheritable) in enumerate(words))
    return tuple(
        f"cap_{NAMES[number]}" if number < len(NAMES) else f"cap_{number}" for number in range(64) if bits >> number & 1
    )


def _grants(value: str) -> tuple[Grant, ...]:
    """Of an access control list (acl(5)) those that may write and are named, root left out."""
    data = bytes.fromhex(value)
    lines = [struct.unpack_from("<HHI", data, at) for at in range(4, len(data) - 7, 8)]
    mask = next((bits for tag, bits, _ in lines if tag == _ACL_MASK), _ACL_WRITE)
    writing = [(tag, number) for tag, bits, number in lines if bits & mask & _ACL_WRITE and number]
    return tuple(
        Grant(user=number) if tag == _ACL_USER else Grant(group=number)
        for tag, number in writing if tag in (_ACL_USER, _ACL_GROUP)
    )
