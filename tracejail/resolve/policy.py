"""What may come into a jail, as rows of data: secrets, devices, runtime state, and which absences are harmless."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tracejail.model import EntryType, JailPath

from .host import HostNode


class Verdict(NamedTuple):
    """Whether an object may come in, why not, and the mode that it gets."""

    allowed: bool
    reason: str
    mode: int


class Device(NamedTuple):
    """A device that every jail may have (devices.txt of the kernel's documentation)."""

    name: str
    major: int
    minor: int
    mode: int = 0o666


DEVICES = (
    Device("null", 1, 3),
    Device("zero", 1, 5),
    Device("full", 1, 7),
    Device("random", 1, 8),
    Device("urandom", 1, 9),
    Device("tty", 5, 0),
)
_HARMLESS_DEVICES = frozenset((device.major, device.minor) for device in DEVICES) | {(5, 2)}  # and ptmx

# (glob, what it is). `*` matches `/` too, and is the only sign that is not itself.
SECRETS = (
    ("/etc/shadow*", "password hashes"),
    ("/etc/gshadow*", "password hashes"),
    *((f"*/etc/{name}", "password hashes") for name in ("shadow", "shadow-", "gshadow", "gshadow-")),  # of another root
    ("/etc/security/opasswd", "old password hashes"),
    ("/etc/master.passwd", "password hashes"),
    ("/etc/ssl/private/*", "a private key, by its place"),
    ("/etc/pki/tls/private/*", "a private key, by its place"),
    ("/etc/letsencrypt/archive/*/privkey*", "a private key, by its place"),
    ("/etc/ssh/ssh_host_*_key", "a private key of this host"),
    ("/etc/sudoers*", "who may become root"),
    ("*.keytab", "Kerberos keys"),
    ("*.p12", "a key store"),
    ("*.pfx", "a key store"),
    ("*.jks", "a key store"),
    ("*/sasl_passwd", "passwords"),
    ("*/sasl_passwd.db", "passwords"),
    ("/etc/wireguard/*", "keys of a tunnel"),
    ("/etc/ipsec.secrets", "keys of a tunnel"),
    ("/etc/ppp/*-secrets", "passwords"),
    ("*/wpa_supplicant.conf", "passwords"),
    ("*.nmconnection", "passwords"),
    ("*/passdb.tdb", "password hashes"),
    ("*/smbpasswd", "password hashes"),
    ("*/.ssh/*", "a user's SSH files"),
    ("*/.aws/*", "a user's cloud credentials"),
    ("*/.azure/*", "a user's cloud credentials"),
    ("*/.config/gcloud/*", "a user's cloud credentials"),
    ("*/.kube/*", "a user's cluster credentials"),
    ("*/.docker/config.json", "registry credentials"),
    ("*/.gnupg/*", "a user's keys"),
    ("*/.netrc", "passwords"),
    ("*/.pgpass", "passwords"),
    ("*/.my.cnf", "passwords"),
    ("*/.git-credentials", "passwords"),
    ("*/.*_history", "what a user typed"),
    ("*/.lesshst", "what a user typed"),
    ("*/.viminfo", "what a user typed"),
)
_PRIVATE_KEY = re.compile(
    rb"^(?:-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----)[ \t]*\r?\n"
    rb"(?:[A-Za-z-]+: [^\n]*\n|[ \t]*\r?\n)*[A-Za-z0-9+/=]{16,}|^PuTTY-User-Key-File-[0-9]: ",
    re.MULTILINE,
)
RUNTIME_STATE = "runtime state of a process on the host"   # the reason, where that is why
_RUNTIME = re.compile(r"(^(/var)?/run/|\.pid$)")
_NUMBER = re.compile(rb"^\s*\d{1,10}\s*(\n|$)")

HARMLESS = (
    ("/etc/ld.so.preload", "a loader option that few hosts use"),
    ("/etc/fstab", "a list of mounts that a container does without"),
    ("/etc/ld.so.nohwcap", "a loader option that few hosts use"),
    ("*/glibc-hwcaps/*", "libraries for other processors"),
    # Only libraries and the directories of libraries: a certificate in a directory `tls` is no harmless miss.
    *(
        (f"*/{name}{rest}", "the loader's old directories for other processors")
        for name in ("tls", "haswell", "x86_64", "avx512_1", "i686", "sse2")
        for rest in ("/*.so", "/*.so.*")
    ),
    *(
        (f"{place}/{name}", "the loader's old directories for other processors")
        for place in ("/lib*", "/usr/lib*", "/usr/local/lib*")
        for name in ("tls", "haswell", "x86_64", "avx512_1", "i686", "sse2")
    ),
    ("*/run/nscd/socket", "a cache daemon that few hosts run"),
    ("/usr/share/locale/*", "messages in another language"),
    ("/usr/lib/locale/*", "variants of the locale's name"),
    ("/usr/share/locale-langpack/*", "messages in another language"),
    ("*/gconv-modules.cache", "a cache of character sets"),
    ("*/gconv-modules.d", "further character sets"),
    ("*pyvenv.cfg", "Python looks whether it is in a virtual environment"),
    ("*/python*.zip", "Python looks for a packed standard library"),
    ("*._pth", "Python looks for a path file"),
    ("*/pybuilddir.txt", "Python looks whether it runs in its source tree"),
    ("*/ct_log_list.cnf", "a list of certificate logs of OpenSSL"),
    ("*/sitecustomize*", "Python's hook for an administrator"),
    ("*/usercustomize*", "Python's hook for a user"),
    ("/etc/terminfo/*", "a terminal description that is elsewhere"),
    ("*/.terminfo*", "a terminal description that is elsewhere"),
    ("/sys/fs/selinux*", "SELinux is not on"),
    ("/selinux*", "SELinux is not on"),
    ("/etc/selinux/*", "SELinux is not on"),
)


def _with_words(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
    """The rows with the longest word of each glob, which a path must hold: most globs are never compiled then."""
    return tuple((max(glob.split("*"), key=len), glob, reason) for glob, reason in rows)


_SECRETS, _HARMLESS = _with_words(SECRETS), _with_words(HARMLESS)


def _first(rows: Iterable[tuple[str, str, str]], path: str) -> str | None:
    for word, glob, reason in rows:
        if word in path and fnmatch.fnmatchcase(path, glob):
            return reason
    return None


def _may_be_key(start: bytes) -> bool:
    # Asked of each file that comes in: the expression alone takes thrice as long to find that there is none.
    return b"\0" not in start and (b"PRIVATE KEY" in start or b"PuTTY-User-Key-File-" in start)


def judge(path: JailPath, node: HostNode, start: bytes, allows: Sequence[str]) -> Verdict:
    """Whether `node` may come in as `path`. `start` is the beginning of its content, b"" to judge by place only."""
    setid = node.mode & 0o6000
    allowed = any(fnmatch.fnmatchcase(path, glob) for glob in allows)
    mode = node.mode if allowed or node.type is not EntryType.FILE else node.mode & ~setid
    if allowed:
        return Verdict(True, "", mode)
    if node.type is EntryType.BLOCK:
        return Verdict(False, "a block device", mode)
    if node.type is EntryType.CHARACTER and node.device not in _HARMLESS_DEVICES:
        return Verdict(False, "a device that may reach the kernel or the hardware", mode)
    if node.type is EntryType.FILE:
        if _RUNTIME.search(path) and node.size < 4096 and _NUMBER.match(start):
            return Verdict(False, RUNTIME_STATE, mode)
        reason = secret(path, start)
        if reason is not None:
            return Verdict(False, reason, mode)
    return Verdict(True, "", mode)


def secret(path: str, start: bytes) -> str | None:
    """Why a file of this place and beginning is one that a jail should not hold unasked; None where it is no secret."""
    reason = _first(_SECRETS, path)
    if reason is None and _may_be_key(start) and _PRIVATE_KEY.search(start):
        return "a private key, by its content"
    return reason


def harmless(path: str) -> str | None:
    """Why it does not matter that this path is absent on the host too; None where it may."""
    return _first(_HARMLESS, path)
