"""What the files of a jail are, by their bytes: each file once, whatever it is called, and no more of all than a budget."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass, field, replace

from tracejail.audit.contents import Secret, contents_of
from tracejail.audit.facts import Contents, Known
from tracejail.audit.naming import by_name
from tracejail.audit.recognition import applets_in, by_bytes
from tracejail.audit.table import Family, Tool
from tracejail.errors import InputOutputError
from tracejail.kernel.paths import IN_ROOT, NO_MAGICLINKS, openat2
from tracejail.model import EntryType, JailPath
from tracejail.resolve.host import HostNode, HostRoot, inspect, names, open_source

_START = 1 << 16        # bytes of each file that are looked at
_LARGEST = 1 << 27      # bytes of a program that are looked at
_MOST_BYTES = 1 << 30   # of all programs
_PART = 1 << 20
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PACKED = b"UPX!"       # of the packer that most take: its strings are not to be had
_SEARCHED = ("program", "library", "object")


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


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a file's bytes hold, by whatever name it is reached."""

    known: tuple[Known, ...] = ()
    unread: str = ""
    limit: bool = False


@dataclass(slots=True)
class Search:
    """`host` is None where files are not to be compared with the host's. `left` are the bytes that may still be read."""

    tools: KnownTools
    secret: Secret
    host: HostRoot | None
    left: int = _MOST_BYTES
    seen: dict[tuple[int, int], _Seen] = field(default_factory=dict)

    def read(self, directory: HostRoot, name: str, path: str, node: HostNode) -> Contents:
        """What a regular file holds; nothing is raised."""
        try:
            descriptor = open_source(directory, JailPath(name))
        except (InputOutputError, OSError):
            return Contents(unread="it can't be read")
        try:
            contents = contents_of(path, os.pread(descriptor, _START, 0), self.secret)
            searched = contents.kind in _SEARCHED
            if not searched and node.size not in self.tools.by_size:
                return contents
            found = self.seen.get(node.inode)
            if found is None:
                found = self._searched(contents, descriptor, node) if searched else self._compared(descriptor, node)
            if node.links > 1:   # many names of one file are read once
                self.seen[node.inode] = found
            stale = searched and self._is_stale(path, node, descriptor)
            return replace(contents, known=found.known, unread=found.unread, limit=found.limit, stale=stale)
        except OSError:
            return Contents(unread="it can't be read")
        except MemoryError:
            return Contents(unread="there is not enough memory for it", limit=True)
        finally:
            os.close(descriptor)

    def _compared(self, descriptor: int, node: HostNode) -> _Seen:
        if node.size > _LARGEST:
            return _Seen()
        if self.left <= 0:
            return _Seen(unread="there is too much in this jail", limit=True)
        self.left -= node.size
        known = self.tools.find(node.size, _digest(descriptor, node.size))
        return _Seen((known,) if known is not None else ())

    def _searched(self, contents: Contents, descriptor: int, node: HostNode) -> _Seen:
        if self.left <= 0:
            return _Seen(unread="there is too much in this jail", limit=True)
        data, whole = _filled(descriptor, node.size)
        self.left -= len(data) >> 3 if contents.kind == "library" else len(data)
        tools = by_bytes(data, library=contents.kind == "library")
        found = [_known(tool, data) for tool in tools]
        if node.size in self.tools.by_size and node.size <= _LARGEST:
            exact = data if len(data) == node.size else _all(descriptor, node.size)
            same = self.tools.find(node.size, hashlib.sha256(exact).digest())
            if same is not None and same.tool not in tools:
                found.append(same)
        unread = "it is too large" if not whole else "it is packed" if _PACKED in data[:_START] else ""
        return _Seen(tuple(found), unread, not whole)

    def _is_stale(self, path: str, node: HostNode, own: int) -> bool:
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
            at, most = 0, min(node.size, _LARGEST)
            while at < most:
                if os.pread(own, _PART, at) != os.pread(descriptor, _PART, at):
                    return True
                at += _PART
            return False
        finally:
            os.close(descriptor)


def _filled(descriptor: int, size: int) -> tuple[bytes, bool]:
    """The bytes of a file without its holes, of which one that says it is huge may have many; and whether that is all."""
    parts: list[bytes] = []
    at = total = 0
    while at < size and total < _LARGEST:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
            end = min(os.lseek(descriptor, at, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:   # no more but a hole
                at = size
                break
            end = size
        while at < end and total < _LARGEST:
            part = os.pread(descriptor, min(end - at, _LARGEST - total), at)
            if not part:
                return b"".join(parts), True
            parts.append(part)
            at, total = at + len(part), total + len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts), at >= size


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
