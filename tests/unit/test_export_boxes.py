"""Grammar tests of firejail's profile, nsjail's configuration and minijail0's: read back as their tools read them.

minijail0 is in no package of Debian's, so that these are all that is known of its format; the others are run in tests/real.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

import boxed
import pytest
from boxed import made
from hostile import EXAMPLES
from hypothesis import given
from nouns import device, directory, entry, link, manifest

from tracejail.errors import ExportError
from tracejail.model import (
    Because,
    Command,
    Content,
    EntryType,
    JailPath,
    Manifest,
    Mount,
    PathNote,
    Use,
    Written,
)

_BECAUSE = Because("/a", "connect", "/b")


def _inside(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _place(path: str, kind: EntryType = EntryType.DIRECTORY) -> Written:
    return Written(JailPath(path), kind, 0o755, 0, 0, Use.STATE)


# --- firejail -------------------------------------------------------------------------------------------------------


def _profile(data: bytes) -> list[tuple[str, str]]:
    """Key and argument of each line; no line has what firejail takes for a pattern, a variable, a list or a second blank."""
    lines = [line for line in data.decode("ascii").split("\n")[:-1] if not line.startswith("#")]
    assert not any(re.search(r"[^ -~]|  |[\\&!?\"'<>%^{};*\[\]$#~]|\.\.", line) for line in lines)
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


@EXAMPLES
@boxed.with_each_name
@given(boxed.boxes())
def test_a_profile_of_any_names(jail: Manifest) -> None:
    written = tuple(one for one in jail.written if one.path != "/")
    jail = replace(jail, written=written, command=replace(jail.command, uid=1000 if jail.command.uid else 0))
    data = boxed.made_or_refused("firejail", jail)
    if data is None:
        return
    told = _profile(data)
    shown = [path for key, path in told if key == "whitelist"]
    empty = [path for key, path in told if key == "tmpfs"]
    places = [one.path for one in jail.written if one.path != "/"]
    for one in jail.entries:
        holds = any(_inside(other.path, one.path) for other in jail.entries if other is not one)
        if one.type is EntryType.DIRECTORY and (holds or one.path.count("/") == 1):
            continue
        in_root = one.path.count("/") == 1 and one.path not in places
        assert in_root or any(_inside(one.path, path) for path in shown)
        if one.type is EntryType.DIRECTORY and not any(_inside(one.path, place) for place in places):
            assert one.path in empty
    writable = [path for key, path in told if key == "read-write"]
    assert set(writable) <= set(places) and all(any(_inside(place, path) for path in writable) for place in places)
    assert ("read-only", "/") in told
    assert dict(told)["private-cwd"] == jail.command.directory


def test_a_profile() -> None:
    jail = manifest(
        directory("/usr"), directory("/usr/bin"), entry("/usr/bin/d"), link("/bin", "usr/bin"), directory("/var"),
        directory("/var/log"), directory("/var/log/d"), directory("/etc"), directory("/etc/d"), directory("/dev"),
        device("/dev/null", 1, 3), written=(_place("/var/log/d"),), mounts=(Mount("sysfs", JailPath("/sys")),),
        sockets=(PathNote("/dev/log", "bound", _BECAUSE),),
    )
    told = _profile(made("firejail", jail))
    paths = [path for key, path in told if key == "whitelist"]
    assert paths == ["/var/log/d", "/dev/null", "/etc/d", "/usr/bin/d", "/dev/log"]
    assert {path for key, path in told if key == "blacklist"} == {
        "/boot", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp"
    }
    keys = [key for key, _ in told]
    assert {"writable-var", "writable-var-log", "nonewprivs", "caps.keep"} <= set(keys) and "writable-etc" not in keys
    assert ("tmpfs", "/etc/d") in told and ("read-write", "/var/log/d") in told
    assert ("caps.drop", "all") in _profile(made("firejail", replace(
        jail, command=Command(("/d",), uid=1000, gid=5), entries=tuple(one for one in jail.entries if one.path != "/etc/d"))))


@pytest.mark.parametrize("odd", [
    manifest(entry("/a/b c")), manifest(entry("/a..b")), manifest(entry("/${HOME}")), manifest(written=(_place("/"),)),
    manifest(directory("/a"), directory("/a/e"), command=Command(("/d",), uid=1000)),
    manifest(command=Command(("/d",), uid=33)),
    manifest(entry("/etc/gshadow", mode=0o640, content=Content.ACCOUNTS)),
    manifest(directory("/run"), written=(_place("/run"),)),
])
def test_what_firejail_refuses(odd: Manifest) -> None:
    with pytest.raises(ExportError) as caught:
        made("firejail", odd)
    assert caught.value.hint


# --- nsjail ---------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'\s*(?:#[^\n]*\n\s*)*("(?:[^"\\\n]|\\.)*"|[A-Za-z_0-9]+|[{}:])')


def _message(text: str) -> list[tuple[str, object]]:
    """A message in protobuf's text form: fields in order; a message in it is a list again."""
    tokens, at = [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        assert found, text[at : at + 80]
        tokens.append(found[1])
        at = found.end()
    message, rest = _fields(tokens)
    assert not rest
    return message


def _fields(tokens: list[str]) -> tuple[list[tuple[str, object]], list[str]]:
    found: list[tuple[str, object]] = []
    while tokens and tokens[0] != "}":
        name, *tokens = tokens
        assert re.fullmatch("[a-z_0-9]+", name), name
        if tokens[0] == "{":
            inner, tokens = _fields(tokens[1:])
            assert tokens[0] == "}"
            found.append((name, inner))
        else:
            assert tokens[0] == ":"
            found.append((name, _string(tokens[1]) if tokens[1].startswith('"') else tokens[1]))
            tokens = tokens[1:]
        tokens = tokens[1:]
    return found, tokens


def _string(token: str) -> str:
    named = {"n": b"\n", '"': b'"', "\\": b"\\"}
    pieces = re.findall(r"\\[0-7]{3}|\\.|[^\\]", token[1:-1])
    assert "".join(pieces) == token[1:-1]
    return os.fsdecode(b"".join(
        bytes([int(piece[1:], 8)]) if piece[0] == "\\" and piece[1:].isdigit() else
        named[piece[1]] if piece[0] == "\\" else piece.encode() for piece in pieces
    ))


@EXAMPLES
@boxed.with_each_name
@given(boxed.boxes())
def test_nsjail_of_any_names(jail: Manifest) -> None:
    message = _message(made("nsjail", jail).decode("ascii"))
    one_of = dict(message)
    words = one_of["exec_bin"]
    assert isinstance(words, list)
    assert [word for _, word in words] == list(jail.command.argv) and one_of["cwd"] == jail.command.directory
    mounts = [dict(fields) for name, fields in message if name == "mount" and isinstance(fields, list)]
    assert mounts[0]["src"] == "/srv/jail" and mounts[0]["dst"] == "/"
    places = [place.path for place in jail.written]
    for one in jail.entries:
        best = [mount for mount in mounts if mount.get("src") and _inside(one.path, str(mount["dst"]))][-1]
        rest = one.path if best["dst"] == "/" else one.path.removeprefix(str(best["dst"]))
        assert str(best["src"]) + rest == "/srv/jail" + one.path
        if not one.device:
            at_top = one.path.count("/") == 1 and one.type is not EntryType.DIRECTORY
            inside = any(_inside(one.path, place) for place in places if place != "/")
            assert best["rw"] == ("true" if inside or ("/" in places and at_top) else "false")
    assert {note.path for note in jail.sockets} <= {str(mount["dst"]) for mount in mounts}
    assert "clone_newuser" not in one_of and len([1 for name, _ in message if name == "uidmap"]) == 1


# --- minijail0 ------------------------------------------------------------------------------------------------------


def _configuration(data: bytes) -> list[tuple[str, str]]:
    """As config_parser.c of minijail: blanks are stripped, the first "=" ends the key, a backslash at the end goes on."""
    first, *lines = data.decode("utf-8").split("\n")
    assert first == "% minijail-config-file v0" and lines[-1] == "" and not any(line.endswith("\\") for line in lines)
    pairs = [line.partition("=") for line in lines[:-1] if not line.strip(" \t").startswith("#")]
    found = [(key.strip(" \t"), value.strip(" \t")) for key, _, value in pairs]
    assert all(key and (value or not equals) for (key, value), (_, equals, _) in zip(found, pairs, strict=True))
    return found


@EXAMPLES
@boxed.with_each_name
@given(boxed.boxes())
def test_minijail_of_any_names(jail: Manifest) -> None:
    jail = replace(jail, command=replace(jail.command, directory="/"))
    data = boxed.made_or_refused("minijail", jail)
    if data is None:
        return
    told = _configuration(data)
    binds = [value.split(",") for key, value in told if key == "bind-mount"]
    assert all(len(words) == 3 for words in binds)
    places = [place.path for place in jail.written]
    assert binds[0] == ["/srv/jail", "/", str(int("/" in places))]
    below = [place for place in places if place != "/"]
    outermost = {place for place in below if not any(_inside(place, other) for other in below if other != place)}
    devices = {one.path for one in jail.entries if one.device}
    sockets = {note.path for note in jail.sockets}
    assert {place for _, place, writes in binds[1:] if writes == "1"} == outermost | devices | sockets
    tops = {one.path for one in jail.entries if one.path.count("/") == 1 and one.type is EntryType.DIRECTORY}
    assert {place for _, place, writes in binds[1:] if writes == "0"} == (tops - set(places) if "/" in places else set())
    assert all(source == "/srv/jail" + place or place in sockets for source, place, _ in binds[1:])
    assert ("mount", "proc,/proc,proc,MS_NOSUID|MS_NODEV|MS_NOEXEC") in told or not jail.mounts


@pytest.mark.parametrize("odd", [
    manifest(command=Command(("/d",), directory="/srv")),
    manifest(written=(_place("/a,b"),)), manifest(written=(_place("/a "),)),
    manifest(device("/\udcff", 1, 3)), manifest(entry("/run/s", type=EntryType.SOCKET, sha256="", size=0)),
])
def test_what_minijail_refuses(odd: Manifest) -> None:
    with pytest.raises(ExportError) as caught:
        made("minijail", odd)
    assert caught.value.hint
