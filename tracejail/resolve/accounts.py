"""passwd(5) and group(5): reduced to the accounts that a jail needs, with no password in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tracejail.model import Accounts, JailPath

from .host import HostRoot, read_start

_LARGEST = 16 << 20  # bytes
_LARGEST_TEXT = 1 << 20  # bytes
_WORD = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_STRING_END = re.compile(rb"(?<![A-Za-z0-9_.-])([A-Za-z0-9_][A-Za-z0-9_.-]*)(?=\0)")
_PLACEHOLDERS = (b"", b"x", b"*", b"!")


def _lines(text: bytes, fields: int) -> Iterator[list[bytes]]:
    for line in text.splitlines():
        parts = line.split(b":")
        # NIS compat lines and comments name no account of this file.
        if len(parts) >= fields and parts[0] and parts[0][:1] not in b"+-#" and parts[2].isdigit():
            yield parts


def _passwd(host: HostRoot) -> list[list[bytes]]:
    return list(_lines(read_start(host, JailPath("/etc/passwd"), _LARGEST), 7))


def _group(host: HostRoot) -> list[list[bytes]]:
    return list(_lines(read_start(host, JailPath("/etc/group"), _LARGEST), 4))


def find_user(host: HostRoot, name: str) -> tuple[int, int, tuple[int, ...]] | None:
    """(uid, gid, all groups) of a user of the host root, as initgroups(3) would set them; None if unknown."""
    for parts in _passwd(host):
        if parts[0] == name.encode():
            gid = int(parts[3])
            others = {int(row[2]) for row in _group(host) if parts[0] in row[3].split(b",")}
            return int(parts[2]), gid, tuple(sorted(others | {gid}))
    return None


def accounts_for(host: HostRoot, users: Iterable[int], groups: Iterable[int], names: Iterable[str]) -> Accounts:
    """The accounts to keep: those with these ids or names, their primary groups and the groups that list them."""
    uids, gids, words = set(users), set(groups), {name.encode("utf-8", "surrogateescape") for name in names}
    kept = [parts for parts in _passwd(host) if int(parts[2]) in uids or parts[0] in words]
    user_names = {parts[0] for parts in kept}
    gids |= {int(parts[3]) for parts in kept if parts[3].isdigit()}
    group_names = {
        parts[0]
        for parts in _group(host)
        if int(parts[2]) in gids or parts[0] in words or user_names & set(parts[3].split(b","))
    }
    return Accounts(False, _sorted(user_names), _sorted(group_names))


def account_names(host: HostRoot) -> set[str]:
    """All users and groups of the host root."""
    return {parts[0].decode("utf-8", "surrogateescape") for parts in (*_passwd(host), *_group(host))}


def words_of(text: bytes) -> set[str]:
    """The words of a text that could be names of accounts."""
    return {word.decode("ascii") for word in _WORD.findall(text)}


def named_in(host: HostRoot, programs: Iterable[str], texts: Iterable[str]) -> set[str]:
    """Accounts whose names are strings of an executed file, or words of a text: what a program may look up without
    ever taking on the id, as a daemon does that only checks that its user is there."""
    known = {parts[0] for parts in (*_passwd(host), *_group(host))}
    found: set[bytes] = set()
    for path in programs:
        data = read_start(host, JailPath(path), _LARGEST)
        # A linker stores a string that ends another one once, as "sshd" in "/run/sshd": any edge of a word counts.
        found |= known & set(_STRING_END.findall(data))
    for path in texts:
        data = read_start(host, JailPath(path), _LARGEST_TEXT)
        if b"\0" not in data:
            found |= known & set(_WORD.findall(data))
    return {name.decode("utf-8", "surrogateescape") for name in found}


def _sorted(words: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(sorted(word.decode("utf-8", "surrogateescape") for word in words))


def reduce_passwd(text: bytes, accounts: Accounts) -> bytes:
    """passwd with the kept users alone, in their order; a hash in the second field becomes `x`."""
    kept = {name.encode("utf-8", "surrogateescape") for name in accounts.users}
    rows = [parts for parts in _lines(text, 7) if parts[0] in kept]
    return _join([parts[0], parts[1] if parts[1] in _PLACEHOLDERS else b"x", *parts[2:]] for parts in rows)


def reduce_group(text: bytes, accounts: Accounts) -> bytes:
    """group with the kept groups alone, their members reduced to the kept users; a hash becomes `x`."""
    kept = {name.encode("utf-8", "surrogateescape") for name in accounts.groups}
    users = {name.encode("utf-8", "surrogateescape") for name in accounts.users}
    rows = []
    for parts in _lines(text, 4):
        if parts[0] in kept:
            members = b",".join(name for name in parts[3].split(b",") if name in users)
            rows.append([parts[0], parts[1] if parts[1] in _PLACEHOLDERS else b"x", parts[2], members])
    return _join(rows)


def _join(rows: Iterable[list[bytes]]) -> bytes:
    return b"".join(b":".join(row) + b"\n" for row in rows)
