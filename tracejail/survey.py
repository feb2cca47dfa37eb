"""A jail's tree gathered for audit: each object once, by directory descriptors, nothing followed and nothing of it run."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tracejail.audit.contents import Secret, contents_of
from tracejail.audit.facts import Contents, Grant, Item, Known
from tracejail.audit.naming import by_name
from tracejail.audit.recognition import applets_in, by_bytes
from tracejail.audit.table import Family, Tool
from tracejail.errors import InputOutputError
from tracejail.kernel.capabilities import NAMES
from tracejail.kernel.paths import IN_ROOT, NO_MAGICLINKS, openat2
from tracejail.model import EntryType, HostPath, JailPath
from tracejail.resolve.host import HostNode, HostRoot, inspect, names, open_directory, open_source, xattrs

_START = 1 << 16        # bytes of each file that are looked at
_LARGEST = 1 << 27      # bytes of a program that are looked at
_MOST_BYTES = 1 << 30   # of all programs
_DEEPEST = 256          # directories: one descriptor is open for each
_MOST = 300_000         # objects
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PACKED = b"UPX!"       # of the packer that most take: its strings are not to be had
_SEARCHED = ("program", "library")
_ACL_USER, _ACL_GROUP, _ACL_MASK, _ACL_WRITE = 0x02, 0x08, 0x10, 2


@dataclass(slots=True)
class KnownTools:
    """The tools that the host has on its PATH, by the size of their files; a file of that size is compared by its digest."""

    host: HostRoot
    by_size: dict[int, list[tuple[str, Tool]]] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict)

    def gather(self) -> None:
        """Look at what is there."""
        for directory in _PATH:
            for name in _names(self.host, directory):
                tool = by_name(name)
                status = _status(self.host, f"{directory}/{name}") if tool is not None else None
                if tool is not None and status is not None and stat.S_ISREG(status.st_mode) and status.st_size:
                    self.by_size.setdefault(status.st_size, []).append((f"{directory}/{name}", tool))

    def find(self, size: int, digest: bytes) -> Known | None:
        """The tool whose file has these bytes."""
        for path, tool in self.by_size.get(size, ()):
            if path not in self.digests:
                self.digests[path] = _digest_of(self.host, path)
            if self.digests[path] == digest:
                return Known(tool, f"its bytes are those of {path} on the host")
        return None


@dataclass(slots=True)
class Survey:
    """One walk through a jail. `host` is None where its files are not to be compared with the host's."""

    tools: KnownTools
    secret: Secret
    host: HostRoot | None
    items: list[Item] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    left: int = _MOST_BYTES

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
                    self.clipped.append(path or "/")
                    return
                item = self._look(directory, name, f"{path}/{name}")
                if item is None:
                    continue
                self.items.append(item)
                if item.type is EntryType.DIRECTORY and not item.foreign:
                    if len(levels) >= _DEEPEST:
                        self.clipped.append(item.path)
                        continue
                    below = _entered(directory, name)
                    if below is None:
                        self.clipped.append(item.path)
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
            self.clipped.append(path)
            return None
        if node is None:
            return None   # it went away in this moment
        if node.closed:
            self.clipped.append(path)
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
            item = replace(item, contents=self._read(directory, name, path, node))
        return item

    def _read(self, directory: HostRoot, name: str, path: str, node: HostNode) -> Contents:
        try:
            descriptor = open_source(directory, JailPath(name))
        except (InputOutputError, OSError):
            return Contents(unread="it can't be read")
        try:
            start = os.pread(descriptor, _START, 0)
            contents = contents_of(path, start, self.secret)
            if contents.kind not in _SEARCHED:
                return self._compared(contents, descriptor, node)
            return self._searched(contents, descriptor, path, node)
        except OSError:
            return Contents(unread="it can't be read")
        finally:
            os.close(descriptor)

    def _compared(self, contents: Contents, descriptor: int, node: HostNode) -> Contents:
        if node.size not in self.tools.by_size or node.size > _LARGEST:
            return contents
        known = self.tools.find(node.size, _digest(descriptor, node.size))
        return replace(contents, known=(known,)) if known is not None else contents

    def _searched(self, contents: Contents, descriptor: int, path: str, node: HostNode) -> Contents:
        if self.left <= 0:
            return replace(contents, unread="there is too much in this jail")
        data = _all(descriptor, min(node.size, _LARGEST))
        self.left -= len(data) if contents.kind == "program" else len(data) >> 3
        tools = by_bytes(data, library=contents.kind == "library")
        found = [_known(tool, data) for tool in tools]
        if node.size in self.tools.by_size and len(data) == node.size:
            same = self.tools.find(node.size, hashlib.sha256(data).digest())
            if same is not None and same.tool not in tools:
                found.append(same)
        unread = "it is too large" if node.size > _LARGEST else "it is packed" if _PACKED in data[:_START] else ""
        return replace(contents, known=tuple(found), stale=self._is_stale(path, node, data), unread=unread)

    def _is_stale(self, path: str, node: HostNode, data: bytes) -> bool:
        if self.host is None:
            return False
        try:
            there = inspect(self.host, JailPath(path))
            if there is None or there.type is not EntryType.FILE or there.virtual or there.inode == node.inode:
                return False
            if there.size != node.size:
                return True
            descriptor = open_source(self.host, JailPath(path))
        except (InputOutputError, OSError):
            return False
        try:
            return _all(descriptor, len(data)) != data
        finally:
            os.close(descriptor)


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


def _known(tool: Tool, data: bytes) -> Known:
    how = "its bytes hold " + ", ".join(repr(mark.decode("ascii")) for mark in tool.marks[:3])
    return Known(tool, how, applets_in(data) if tool.family is Family.MULTI_CALL else ())


def _all(descriptor: int, size: int) -> bytes:
    parts: list[bytes] = []
    at = 0
    while at < size and (part := os.pread(descriptor, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts) if len(parts) != 1 else parts[0]


def _digest(descriptor: int, size: int) -> bytes:
    return hashlib.sha256(_all(descriptor, size)).digest()


def _digest_of(host: HostRoot, path: str) -> bytes:
    try:
        found = openat2(host.fd, path, os.O_PATH | os.O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS)
    except OSError:
        return b""
    try:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode):
            return b""
        with open(f"/proc/self/fd/{found}", "rb", buffering=0) as stream:
            return _digest(stream.fileno(), min(status.st_size, _LARGEST))
    except OSError:
        return b""
    finally:
        os.close(found)


def _status(host: HostRoot, path: str) -> os.stat_result | None:
    try:
        found = openat2(host.fd, path, os.O_PATH | os.O_CLOEXEC, 0, IN_ROOT | NO_MAGICLINKS)
    except OSError:
        return None
    try:
        return os.fstat(found)
    finally:
        os.close(found)


def _names(root: HostRoot, path: str) -> list[str]:
    try:
        return names(root, JailPath(f"{path}/."))
    except (InputOutputError, OSError):
        return []


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
