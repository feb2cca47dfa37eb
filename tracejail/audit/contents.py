"""What the first bytes of a file say: what it is, and which secrets are in it."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable

from .elf import is_odd, shape
from .facts import Contents

Secret = Callable[[str, bytes], str | None]   # why a file should stay outside, by its path and first bytes

# Beside those of the policy, which are about what is copied: what a jail gathers by itself.
_MORE = (
    ("*/.htpasswd", "password hashes"),
    ("*/.htdigest", "password hashes"),
    ("*/.env", "settings with passwords, by its name"),
    ("*/.vault-token", "a token"),
    ("*/.npmrc", "registry credentials"),
    ("*/.pypirc", "registry credentials"),
    ("*.kdbx", "a key store"),
    ("*/.bash_history*", "what a user typed"),
    ("*/.python_history", "what a user typed"),
    ("*/id_rsa", "a private key, by its name"),
    ("*/id_ed25519", "a private key, by its name"),
    ("*/id_ecdsa", "a private key, by its name"),
)
_TOKENS = re.compile(rb"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bglpat-[A-Za-z0-9_-]{20}\b|\bxox[bp]-[0-9]{8,}-")
_PREFIXES = (b"AKIA", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"glpat-", b"xoxb-", b"xoxp-")
_KEYTAB = b"\x05\x02\x00\x00"
_HASH = re.compile(
    rb"^([A-Za-z0-9_.@-]{1,64}):((?:\$(?:1|2[abxy]?|3|5|6|7|y|gy|apr1|argon2[a-z]*)\$|\{(?:S?SHA|CRYPT|S?MD5)[0-9]*\})[^:\s]{8,})",
    re.MULTILINE,
)
_ACCOUNT = re.compile(rb"^([^:\n]{1,64}):([^:\n]*):", re.MULTILINE)
_DES = re.compile(rb"[./0-9A-Za-z]{13}")
_ACCOUNTS = frozenset(("passwd", "shadow", "passwd-", "shadow-", "master.passwd"))
_LONGEST = 256   # bytes of a line "#!" (execve(2))


def contents_of(path: str, start: bytes, secret: Secret) -> Contents:
    """By a path as seen from the jail and the beginning of the file; what is told by more than that is not in it."""
    kind, interpreter = shape(start), ""
    if not kind and start.startswith(b"#!"):
        words = start[2:_LONGEST].partition(b"\n")[0].split()
        kind, interpreter = "script", words[0].decode("utf-8", "surrogateescape") if words else ""
    if kind and kind != "script":
        return Contents(kind=kind, odd=is_odd(start))
    why = secret(path, start) or next((reason for glob, reason in _MORE if fnmatch.fnmatchcase(path, glob)), "")
    if not why and any(word in start for word in _PREFIXES) and _TOKENS.search(start):
        why = "a token of a service, by its form"
    if not why and start.startswith(_KEYTAB):
        why = "Kerberos keys, by their form"
    hashes = {match[1] for match in _HASH.finditer(start)} if b":$" in start or b":{" in start else set()
    open_ones: set[bytes] = set()
    if posixpath.basename(path) in _ACCOUNTS:
        for match in _ACCOUNT.finditer(start):
            if not match[2]:
                open_ones.add(match[1])
            elif _DES.fullmatch(match[2]):
                hashes.add(match[1])
    return Contents(kind, interpreter, secret=why, hashes=_words(hashes), open=_words(open_ones))


def _words(names: set[bytes]) -> tuple[str, ...]:
    return tuple(sorted(name.decode("utf-8", "surrogateescape") for name in names))
