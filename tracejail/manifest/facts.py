"""What an entry says of its host, as against what it says of the run that asked for it."""

from __future__ import annotations

import operator
from dataclasses import replace

from tracejail.model import Content, Entry, PathNote, Written

COMPARED = ("type", "mode", "uid", "gid", "size", "sha256", "content", "target", "device", "xattrs", "hard_link", "version")

# The time is none of them: files of the same bytes that were written at another time are the same.
facts = operator.attrgetter(*COMPARED, "package")


def facts_of_place(place: Written) -> object:
    """What a written place says of its host."""
    return place.type, place.mode, place.uid, place.gid, place.use


def facts_of_note(note: PathNote) -> object:
    """What a note says of its host; who asked is of the run."""
    return note.reason


def unmade(entry: Entry) -> Entry:
    """What is made for a jail is made anew for another one: its digest is not known before it is built."""
    made = entry.content in (Content.ACCOUNTS, Content.LD_CACHE, Content.NSSWITCH)
    return replace(entry, sha256="", size=0) if made else entry
