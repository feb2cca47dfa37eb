"""The words for drift: what was found at a path, and what is other than it should be."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import Enum

from tracejail.model import TYPES, EntryType


class Kind(Enum):
    """How a path drifted."""

    PATCHED = "patched"            # the host has other content, another link target or device
    ATTRIBUTES = "attributes"      # the host has another mode, owner or extended attribute
    VERSION = "version"            # another version of the package, with the same content
    NEED = "new need"              # a patched file needs it, and the jail has it not
    HOST_GONE = "gone from host"
    JAIL_GONE = "gone from jail"
    TAMPERED = "changed in jail"   # neither what the manifest says nor what the host has now
    SHAPE = "other shape"          # a directory on one side only: no update brings that over
    DENIED = "denied"              # the policy keeps out what the host has there now
    INTERRUPTED = "interrupted"    # an update that was killed: the next one finishes it


@dataclass(frozen=True, slots=True)
class Drift:
    """One path that drifted. `version` is what the manifest says of its package, `now` what the host says."""

    path: str
    kind: Kind
    detail: str = ""
    package: str = ""
    version: str = ""
    now: str = ""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A package whose version changed, and how many paths of it are in the manifest."""

    package: str
    version: str
    now: str
    files: int


@dataclass(frozen=True, slots=True)
class Object:
    """What lies at a path, as stat(2) tells it; `target` is of a symlink."""

    type: EntryType
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int
    device: tuple[int, int] | None = None
    target: str = ""


class Side(Enum):
    """Where an object lies."""

    JAIL = "jail"
    HOST = "host"


def object_of(status: os.stat_result, target: str = "") -> Object:
    """The object of a stat(2)."""
    kind = TYPES[stat.S_IFMT(status.st_mode)]
    number = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in (EntryType.CHARACTER, EntryType.BLOCK) else None
    return Object(
        kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, status.st_ino,
        status.st_ctime_ns, number, target,
    )
