"""A profile of AppArmor: each path in its line, literally, with what was seen of it."""

from __future__ import annotations

import re

import hostile
import pytest
from hostile import EXAMPLES, made
from hypothesis import given
from nouns import device, directory, entry, link, manifest

from tracejail.errors import ExportError
from tracejail.model import Because, Command, EntryType, JailPath, Manifest, Mount, Origin, PathNote, Use, Written

_LINE = re.compile(r'  "((?:[^"\\]|\\.)*)" ([a-z]+),')


def rules(text: bytes) -> dict[str, str]:
    """The paths as they are meant, with their permissions; ** as it stands."""
    found = {}
    for line in text.decode("utf-8").split("\n")[1:-2]:
        match = _LINE.fullmatch(line)
        if match:
            assert not re.search(r"[*?\[\]{}^@]", re.sub(r"\\.", "", match[1]).removesuffix("/**"))
            found[re.sub(r"\\(.)", r"\1", match[1]).removeprefix("/srv/jail")] = match[2]
        else:
            assert line.strip() in ("capability,", "network,", "signal,", "unix,", "capability net_bind_service,") or "#" in line
    return found


@EXAMPLES
@given(hostile.manifests())
def test_apparmor_comes_back_or_is_refused(jail: Manifest) -> None:
    try:
        found = rules(made("apparmor", jail))
    except ExportError as refused:
        assert any(repr("/srv/jail" + path)[1:-1] in refused.message for path in hostile.paths(jail)) and refused.hint
        return
    asked = [one for one in jail.entries if one.type is not EntryType.SYMLINK]
    assert found.keys() == {one.path + "/" * (one.type is EntryType.DIRECTORY) for one in asked}


def test_what_was_seen() -> None:
    ran = Because("/bin/sh", "execve", "/bin/tool")
    jail = manifest(
        directory("/bin"), entry("/bin/d", origin=Origin.ARGV), entry("/bin/tool", because=ran), entry("/bin/conf"),
        entry("/bin/libc.so.6"), entry("/bin/ld", origin=Origin.ELF_INTERPRETER), link("/bin/l", "d"), device("/bin/null", 1, 3),
        written=(Written(JailPath("/bin"), EntryType.DIRECTORY, 0o755, 0, 0, Use.STATE),
                 Written(JailPath("/bin/conf"), EntryType.FILE, 0o644, 0, 0, Use.OTHER)),
        sockets=(PathNote("/dev/log", "", ran),), mounts=(Mount("proc", JailPath("/proc")),),
        command=Command(("/bin/d",), uid=33), listens=("0.0.0.0:80",), syscalls=("read",),
    )
    text = made("apparmor", jail)
    found = rules(text)
    assert b"capability net_bind_service," in text and b"network," not in text and b"  capability,\n" not in text
    assert (found["/bin/d"], found["/bin/tool"], found["/bin/libc.so.6"], found["/bin/ld"]) == ("mrix", "mrix", "mr", "mr")
    assert (found["/bin/null"], found["/dev/log"], found["/proc/**"], found["/bin/**"]) == ("rw", "rw", "rw", "rwkl")
    assert "/bin/l" not in found
    assert b"  capability,\n" in made("apparmor", manifest()) and b"network," in made("apparmor", manifest())


@pytest.mark.parametrize("name", ["a\nb", "\udcff", "a\\", "\x1b"])
def test_a_name_that_it_can_not_say(name: str) -> None:
    with pytest.raises(ExportError):
        made("apparmor", manifest(entry(f"/{name}")))
