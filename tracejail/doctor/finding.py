"""What doctor finds, and what cures it: values that are printed, dumped and applied."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .facts import Call


class Confidence(Enum):
    """How sure a finding is."""

    CERTAIN = "certain"     # nothing else can be so with these facts
    LIKELY = "likely"
    POSSIBLE = "possible"


class Kind(Enum):
    """What an action does to a jail."""

    COPY = "copy"            # one file, link or device from the host, at its real path; `text`: why it is a secret
    TREE = "tree"            # a directory with all beneath it but the files of `text`, with NUL between: they are secrets
    DIRECTORY = "directory"  # made: mode, owner
    DEVICE = "device"        # made: device numbers, mode
    LINK = "link"            # made: to `text`
    MODE = "mode"            # changed
    OWNER = "owner"          # changed
    CHANGEABLE = "changeable"  # immutable and append-only taken away (chattr(1)): nothing that can be tried in memory
    REMOVE = "remove"
    LINE = "line"            # `text` is added to a file, which is made where there is none
    CACHE = "ld.so.cache"    # made anew for the jail
    MOUNT = "mount"          # `text` is the type, or the place outside that is bound there
    ADVICE = "advice"        # nothing that can be done to the jail: `text` says what to do


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do to the jail; `path` as seen from its root."""

    kind: Kind
    path: str
    text: str = ""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    device: tuple[int, int] = (0, 0)
    root: str = ""           # the directory of the jail that `path` is seen from, where a program took one for its root
    source: str = ""         # of what is copied: where it lies on the host, if that is not `path`
    of_jail: bool = False    # what is copied is the jail's own, and not the host's


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause, or what might be one. `calls` are those of the run that it explains: a general finding about the same calls
    is not told beside it. `weight` orders findings of the same confidence, the greater first."""

    rule: str
    confidence: Confidence
    path: str
    message: str
    actions: tuple[Action, ...] = ()
    calls: tuple[Call, ...] = ()
    evidence: tuple[str, ...] = ()   # lines beside the calls: what the tree shows
    weight: int = 0
    quiet: bool = False              # nothing ends of it; something is poorer
    general: bool = False            # says no more than that a call failed
    inner: str = ""                  # `path` as the program sees it, in a root of its own
    claims: tuple[int, ...] = ()     # orders of further calls that it explains and that are no evidence
