"""Where the stamps of a look are kept: a file beside the manifest, `.NAME.seen`, mode 0600. It may be removed at any time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat

from tracejail.drift.stamps import Stamps, dump_stamps, load_stamps
from tracejail.kernel.survey import LED, survey
from tracejail.resolve.host import HostRoot

_LARGEST = 1 << 28
_BASES = {"/var/lib/dpkg": ["status", "diversions"], "/lib/apk/db": ["installed"]}


def place_of(manifest_path: str) -> str:
    """The file."""
    directory, _, name = os.path.abspath(manifest_path).rpartition("/")
    return f"{directory}/.{name}.seen"


def key_of(manifest_path: str) -> list[object]:
    """What tells one state of a manifest's file from another. Raises OSError."""
    status = os.stat(manifest_path)
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def base_of(host: HostRoot) -> list[object]:
    """In which state the host's package data base is."""
    found: list[object] = []
    for path, status in survey(host.fd, _BASES, LED):
        if status is not None:
            found += [path, status.st_ino, status.st_ctime_ns]
    return found


def recall(manifest_path: str) -> Stamps:
    """The stamps; empty ones where there are none that can be trusted: another user's, or torn."""
    try:
        fd = os.open(place_of(manifest_path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return Stamps()
    with open(fd, "rb") as stream:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            return Stamps()
        digest, _, text = stream.read(_LARGEST).partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        return Stamps()
    return load_stamps(text.decode("ascii", "replace"))


def remember(manifest_path: str, stamps: Stamps) -> None:
    """Keep them, where this user may; what is torn by a kill is not taken for any."""
    text = dump_stamps(stamps).encode("ascii", "replace")
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        fd = os.open(place_of(manifest_path), flags, 0o600)
        with open(fd, "wb") as stream:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1:
                stream.truncate(0)
                stream.write(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)

