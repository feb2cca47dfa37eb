"""passwd(5), group(5) and kin: reduced to the accounts that a jail needs, with no password but those that it needs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tracejail.errors import UsageError
from tracejail.model import Accounts, JailPath

from .host import HostRoot, read_start

_LARGEST = 16 << 20  # bytes
_LARGEST_TEXT = 1 << 20  # bytes
_WORD = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_STRING_END = re.compile(rb"(?<![A-Za-z0-9_.-])([A-Za-z0-9_][A-Za-z0-9_.-]*)(?=\0)")
_ID_DIGITS = 10  # of the largest id, 2^32 - 1
_NOBODY = (1 << 32) - 1   # "leave as it is" of setresuid(2)
_PLACEHOLDERS = (b"", b"x", b"*", b"!")
_BLANKS = b" \t\n\v\f\r"
# Fields that a row must have: those behind are empty if they are not there.
_PASSWD_FIELDS, _GROUP_FIELDS, _SHADOW_FIELDS, _SUBID_FIELDS = 4, 3, 2, 3


def _lines(text: bytes, fields: int) -> Iterator[list[bytes]]:
    """The rows of so many fields at least, as the C library takes them: nothing but a newline ends a line, and blanks
    before the name do not count. NIS compat lines and comments name no account of this file."""
    for line in text.split(b"\n"):
        parts = line.lstrip(_BLANKS).split(b":")
        if len(parts) >= fields and parts[0] and parts[0][:1] not in b"+-#":
            yield parts


def _numbered(text: bytes, fields: int) -> Iterator[list[bytes]]:
    return (parts for parts in _lines(text, fields) if _is_id(parts[2]))


def _is_id(word: bytes) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _ID_DIGITS


def _passwd(host: HostRoot) -> list[list[bytes]]:
    return list(_numbered(read_start(host, JailPath("/etc/passwd"), _LARGEST), _PASSWD_FIELDS))


def _group(host: HostRoot) -> list[list[bytes]]:
    return list(_numbered(read_start(host, JailPath("/etc/group"), _LARGEST), _GROUP_FIELDS))


def _members(row: list[bytes]) -> list[bytes]:
    return row[3].split(b",") if len(row) > 3 else []


def find_user(host: HostRoot, name: str) -> tuple[int, int, tuple[int, ...]] | None:
    """(uid, gid, all groups) of a user of the host root, as initgroups(3) would set them; None if unknown."""
    for parts in _passwd(host):
        if parts[0] == os.fsencode(name) and _is_id(parts[3]):
            gid = int(parts[3])
            others = {int(row[2]) for row in _group(host) if parts[0] in _members(row)}
            return int(parts[2]), gid, tuple(sorted(others | {gid}))
    return None


@dataclass(frozen=True, slots=True)
class Account:
    """A line of passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def find_account(host: HostRoot, word: str) -> Account | None:
    """The user of a name or a number; None if unknown."""
    for parts in _passwd(host):
        if os.fsencode(word) in (parts[0], parts[2]) and _is_id(parts[3]):
            name, _, uid, gid, _, home, shell = (os.fsdecode(part) for part in (*parts, b"", b"", b"")[:7])
            return Account(name, int(uid), int(gid), home, shell)
    return None


def _is_number(word: str) -> bool:
    """Raises UsageError for one that no user or group can have."""
    if not word.isascii() or not word.isdigit():
        return False
    if len(word) > _ID_DIGITS or int(word) >= _NOBODY:
        raise UsageError(f"-u {word}: no user or group has such a number", f"it is to be less than {_NOBODY}")
    return True


def find_group(host: HostRoot, word: str) -> int | None:
    """The id of a group that is named, or given as a number; None if unknown."""
    if _is_number(word):
        return int(word)
    return next((int(parts[2]) for parts in _group(host) if parts[0] == os.fsencode(word)), None)


def find_identity(host: HostRoot, text: str) -> tuple[int, int, tuple[int, ...]]:
    """(uid, gid, all groups) of USER[:GROUP[,GROUP...]], each a name of the host root or a number. A user that is named has
    the groups that list it, too, as User= and Group= of systemd.exec(5). Raises UsageError."""
    name, _, words = text.partition(":")
    listed = []
    for word in words.split(",") if words else ():
        gid = find_group(host, word)
        if gid is None:
            raise UsageError(f"-u {text}: no such group on the host: {word}", "see getent group, or give its number")
        listed.append(gid)
    if _is_number(name):
        return int(name), listed[0] if listed else int(name), tuple(sorted({*listed})) if len(listed) > 1 else ()
    known = find_user(host, name)
    if known is None:
        raise UsageError(f"-u {name}: no such user on the host", "see getent passwd, or give UID:GID")
    uid, gid, groups = known
    if not listed:
        return known
    return uid, listed[0], tuple(sorted(({*groups} - {gid}) | {*listed}))


def accounts_for(
    host: HostRoot, users: Iterable[int], groups: Iterable[int], names: Iterable[str],
    become: Iterable[int] = (), asked: Iterable[str] = (),
) -> Accounts:
    """The accounts to keep: those with these ids or names, their primary groups and the groups that list them. Of some
    with the same id it is the first, as that is the one that a look-up by number finds.

    Of those of them whose ids the target took on (`become`) or whose names it was given (`asked`) the password is kept, too.
    """
    uids, gids, words = set(users), set(groups), {os.fsencode(name) for name in names}
    taken, given = set(become), {os.fsencode(name) for name in asked}
    kept = [parts for parts, first in _first_of_id(_passwd(host)) if first and int(parts[2]) in uids or parts[0] in words]
    user_names = {parts[0] for parts in kept}
    gids |= {int(parts[3]) for parts in kept if _is_id(parts[3])}
    group_names = {
        parts[0]
        for parts, first in _first_of_id(_group(host))
        if first and int(parts[2]) in gids or parts[0] in words or user_names & set(_members(parts))
    }
    passwords = {parts[0] for parts in kept if int(parts[2]) in taken or parts[0] in given}
    return Accounts(False, _sorted(user_names), _sorted(group_names), _sorted(passwords))


def _first_of_id(rows: Iterable[list[bytes]]) -> Iterator[tuple[list[bytes], bool]]:
    seen: set[int] = set()
    for row in rows:
        yield row, int(row[2]) not in seen
        seen.add(int(row[2]))


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
    kept = _encoded(accounts.users)
    rows = [parts for parts in _numbered(text, _PASSWD_FIELDS) if parts[0] in kept]
    return _join([parts[0], _placeholder(parts[1]), *parts[2:]] for parts in rows)


def reduce_group(text: bytes, accounts: Accounts) -> bytes:
    """group with the kept groups alone, their members reduced to the kept users; a hash becomes `x`."""
    kept, users = _encoded(accounts.groups), _encoded(accounts.users)
    rows = [parts for parts in _numbered(text, _GROUP_FIELDS) if parts[0] in kept]
    return _join([parts[0], _placeholder(parts[1]), parts[2], _only(_members(parts), users)] for parts in rows)


def reduce_shadow(text: bytes, accounts: Accounts) -> bytes:
    """shadow with the kept users alone; one whose password the jail does not need has `*`, which none fits."""
    kept, passwords = _encoded(accounts.users), _encoded(accounts.passwords)
    rows = [parts for parts in _lines(text, _SHADOW_FIELDS) if parts[0] in kept]
    return _join([parts[0], parts[1] if parts[0] in passwords else b"*", *parts[2:]] for parts in rows)


def reduce_gshadow(text: bytes, accounts: Accounts) -> bytes:
    """gshadow with the kept groups alone, without passwords; administrators and members reduced to the kept users."""
    kept, users = _encoded(accounts.groups), _encoded(accounts.users)
    rows = [parts for parts in _lines(text, _SHADOW_FIELDS) if parts[0] in kept]
    return _join([parts[0], b"*", *(_only(part.split(b","), users) for part in parts[2:])] for parts in rows)


def reduce_subid(text: bytes, accounts: Accounts) -> bytes:
    """subuid or subgid with the ranges of the kept users alone; one that is given by number is of an unknown user."""
    kept = _encoded(accounts.users)
    return _join(parts for parts in _lines(text, _SUBID_FIELDS) if parts[0] in kept)


SHADOWS = ("shadow", "shadow-")
# How each file is reduced, by its name; the copies that the tools for accounts leave behind as their files.
REDUCE: dict[str, Callable[[bytes, Accounts], bytes]] = {
    name + suffix: reduce
    for suffix in ("", "-")
    for name, reduce in (
        ("passwd", reduce_passwd), ("group", reduce_group), ("shadow", reduce_shadow), ("gshadow", reduce_gshadow),
        ("subuid", reduce_subid), ("subgid", reduce_subid),
    )
}


def _placeholder(password: bytes) -> bytes:
    return password if password in _PLACEHOLDERS else b"x"


def _only(names: Iterable[bytes], users: set[bytes]) -> bytes:
    return b",".join(name for name in names if name in users)


def _encoded(names: Iterable[str]) -> set[bytes]:
    return {os.fsencode(name) for name in names}


def _join(rows: Iterable[list[bytes]]) -> bytes:
    return b"".join(b":".join(row) + b"\n" for row in rows)
