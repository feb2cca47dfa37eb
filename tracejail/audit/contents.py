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
    ("*/.zhistory", "what a user typed"),
    ("*/.histfile", "what a user typed"),
    ("*/.mylogin.cnf", "passwords"),
    ("*/.boto", "a user's cloud credentials"),
    ("*/.s3cfg", "a user's cloud credentials"),
    ("*/rclone.conf", "a user's cloud credentials"),
    ("*/id_rsa", "a private key, by its name"),
    ("*/id_ed25519", "a private key, by its name"),
    ("*/id_ecdsa", "a private key, by its name"),
)
_TOKENS = re.compile(
    rb"\bA[KS]IA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9_]{22,}|\bglpat-[A-Za-z0-9_-]{20}\b"
    rb"|\bxox[bp]-[0-9]{8,}-|\bsk_live_[A-Za-z0-9]{16,}|\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])|\bnpm_[A-Za-z0-9]{36}\b"
    rb"|(?i:aws_secret_access_key)[\"']?[ \t]{0,8}[=:][ \t]{0,8}[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"
)
# One of these is in whatever the expression finds, and they are sought faster.
_PREFIXES = (b"AKIA", b"ASIA", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"glpat-", b"xoxb-", b"xoxp-",
             b"sk_live_", b"AIza", b"npm_", b"aws_secret_access_key", b"AWS_SECRET_ACCESS_KEY")
# In the midst of a line too, and as one line of JSON or of a shell has it.
_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----(?:\\[rn]|[\"'\s]){1,16}"
    rb"(?:[A-Za-z-]{1,32}: [^\n\\]{0,128}(?:\\[rn]|\s){1,8}){0,4}[A-Za-z0-9+/=]{16,}"
)
_LOGIN = re.compile(rb"([a-z][a-z0-9+]{2,15})://[^\s:/@'\"<>{}$%]{1,64}:[^\s:/@'\"<>{}$]{3,128}@[A-Za-z0-9\[_]")
_DOCUMENTED = (b"http", b"https", b"ftp", b"ftps")      # as examples, more often than not
_INSTALLED = ("/usr/share/", "/usr/lib", "/lib")        # what a package brings knows no password of this host
_PRELOAD = "/etc/ld.so.preload"
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
    why = _by_place(path, start, secret) or _by_form(path, start)
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
    loads = start.decode("utf-8", "surrogateescape").replace(":", " ").split() if path == _PRELOAD else ()
    return Contents(kind, interpreter, secret=why, hashes=_words(hashes), open=_words(open_ones), loads=tuple(loads))


def _by_place(path: str, start: bytes, secret: Secret) -> str:
    name = posixpath.basename(path)
    if name in ("known_hosts", "known_hosts.old") or name.endswith(".pub"):
        return ""   # made to be given away, wherever they lie
    return secret(path, start) or next((reason for glob, reason in _MORE if fnmatch.fnmatchcase(path, glob)), "")


def _by_form(path: str, start: bytes) -> str:
    if b"PRIVATE KEY" in start and b"\0" not in start and _KEY.search(start):
        return "a private key, by its content"
    if any(word in start for word in _PREFIXES) and _TOKENS.search(start):
        return "a token of a service, by its form"
    if b"://" not in start or path.startswith(_INSTALLED):
        return ""
    return "a password in an address" if any(match[1] not in _DOCUMENTED for match in _LOGIN.finditer(start)) else ""


def _words(names: set[bytes]) -> tuple[str, ...]:
    return tuple(sorted(name.decode("utf-8", "surrogateescape") for name in names))
