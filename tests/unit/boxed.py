"""Manifests of odd names that are to be started: odd words in the command, odd places that it writes to, odd sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hostile
from hypothesis import example
from hypothesis import strategies as st
from nouns import directory, link, manifest

from tests.odd_names import NAMES
from tracejail.errors import ExportError
from tracejail.export.formats import FORMATS
from tracejail.model import (
    Because,
    Command,
    EntryType,
    JailPath,
    Manifest,
    Mount,
    PathNote,
    Service,
    Step,
    Use,
    Written,
)

_BECAUSE = Because("/usr/sbin/httpd", "connect", "/dev/log")
_PROGRAM = "/usr/sbin/httpd"
_words = st.one_of(hostile.names, st.sampled_from(("", "$MAINPID", "pid=$MAINPID$x", ";", "-", "a\n[Service]\nUser=root")))


@st.composite
def boxes(draw: st.DrawFn) -> Manifest:
    """A jail of odd names, with a command."""
    jail = draw(hostile.manifests())
    program = draw(st.one_of(st.just(_PROGRAM), hostile.names.map(lambda name: f"/usr/{name}")))
    words = tuple(draw(st.lists(_words, max_size=4)))
    step = Step((_PROGRAM, *draw(st.lists(_words, max_size=3))), draw(st.booleans()), draw(st.booleans()))
    directories = [one for one in jail.entries if one.type is EntryType.DIRECTORY]
    files = [one for one in jail.entries if one.type is EntryType.FILE]
    written = draw(st.lists(st.sampled_from([*directories, *files]), max_size=2, unique=True)) if directories or files else []
    command = Command(
        (program, *words),
        directory=draw(st.sampled_from(["/", *(one.path for one in directories)])),
        uid=draw(st.sampled_from((0, 33))),
        gid=33,
        environment=("LANG",),
        service=Service(before=(step,)),
    )
    places = [Written(one.path, one.type, one.mode, one.uid, one.gid, draw(st.sampled_from(Use))) for one in written]
    if draw(st.booleans()):
        places.append(Written(JailPath("/"), EntryType.DIRECTORY, 0o755, 0, 0, Use.OTHER))
    sockets = (PathNote("/run/" + draw(hostile.names), "bound", _BECAUSE),) if draw(st.booleans()) else ()
    return replace(
        jail, command=command, sockets=sockets, written=tuple(sorted(places, key=lambda one: one.path)),
        mounts=(Mount("proc", JailPath("/proc")),) if draw(st.booleans()) else (),
    )


def _with(name: str) -> Manifest:
    """A jail in which one odd name is a file, a directory that is written to, a link, a link's target, a word, a socket."""
    path = f"/d/{name}"
    place = Written(JailPath(f"/{name}"), EntryType.DIRECTORY, 0o755, 0, 0, Use.STATE)
    command = Command(("/usr/sbin/httpd", name), uid=33, gid=33, service=Service(before=(Step(("/usr/sbin/httpd", name)),)))
    links = (link(f"/d/l{name[:200]}", name), link("/d/.l.", path))
    entries = (directory("/d"), hostile.file(path), directory(f"/{name}"), *links)
    return manifest(*entries, command=command, written=(place,), sockets=(PathNote(f"/run/{name}", "bound", _BECAUSE),))


def with_each_name(test: Callable[[Manifest], None]) -> Callable[[Manifest], None]:
    """The test for each odd name by itself too, whatever hypothesis draws."""
    for name in NAMES:
        test = example(_with(name))(test)
    return test


def all_words(jail: Manifest) -> list[str]:
    """Every name and word of a manifest, one of which a refusal must name."""
    paths = [one.path for one in jail.entries] + [note.path for note in jail.sockets]
    return [*paths, *jail.command.argv, jail.command.argv[0].rpartition("/")[2], *jail.command.service.before[0].argv]


def made(form: str, jail: Manifest, **fields: Any) -> bytes:
    """A manifest in a format."""
    return b"".join(FORMATS[form].make(hostile.request(jail, **fields)))


def made_or_refused(form: str, jail: Manifest, **fields: Any) -> bytes | None:
    """What is made; None where it is refused with a reason that names one of its words."""
    try:
        return made(form, jail, **fields)
    except ExportError as refused:
        assert any(repr(word) in refused.message or word and word in refused.message for word in all_words(jail)), refused
        assert refused.hint and "\n" not in refused.message
        return None
