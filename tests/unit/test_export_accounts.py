"""tmpfiles.d, sysusers.d and jk_init.ini, read back as their tools read them."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator
from dataclasses import replace

import boxed
import pytest
import unit_reader
from boxed import made
from hostile import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from nouns import device, directory, entry, link, manifest

from tracejail.errors import ExportError
from tracejail.export.jailkit import jailkit
from tracejail.export.request import Request
from tracejail.export.sysusers import sysusers
from tracejail.model import (
    Accounts,
    Because,
    Command,
    Content,
    Entry,
    EntryType,
    JailPath,
    MadeDirectory,
    Manifest,
    Mount,
    PathNote,
    Service,
)

# --- tmpfiles.d -----------------------------------------------------------------------------------------------------


def _lines(data: bytes) -> Iterator[tuple[list[str], str]]:
    """The six fields of each line, and its argument."""
    text = os.fsdecode(data)
    assert "\r" not in text
    for line in text.split("\n")[:-1]:
        parts = re.fullmatch(r'(\S+) ("(?:[^"\\]|\\.)*") (.*)', line, re.DOTALL)
        assert parts
        path = unit_reader.plain(unit_reader.words(parts[2], False)[0])
        kind, rest = parts[1], parts[3].split(" ")
        argument = rest[4] if len(rest) > 4 else ""
        assert len(rest) in (4, 5) and argument != "-"
        yield [kind, path, *rest[:4]], unit_reader.plain(unit_reader.unescaped(argument))


@EXAMPLES
@boxed.with_each_name
@given(boxed.boxes())
def test_tmpfiles_come_back(jail: Manifest) -> None:
    data = boxed.made_or_refused("tmpfiles", jail)
    if data is None:
        return
    places = {place.path for place in jail.written}
    known = {one.path: one for one in jail.entries if one.type is not EntryType.FILE or one.path in places}
    for (kind, path, mode, uid, gid, age), argument in _lines(data):
        one = known.pop(JailPath(path))
        assert age == "-"
        if one.type is EntryType.SYMLINK:
            assert (kind, mode, uid, gid, argument) == ("L+", "-", "-", "-", one.target)
            continue
        wanted = {EntryType.DIRECTORY: "d", EntryType.CHARACTER: "c+", EntryType.FILE: "f"}[one.type]
        assert (kind, int(mode, 8), int(uid), int(gid)) == (wanted, one.mode, one.uid, one.gid)
        assert argument == ("{}:{}".format(*one.device) if one.device else "")
    assert not known


@pytest.mark.parametrize("odd", [
    entry("/run/s", type=EntryType.SOCKET, sha256="", size=0), directory("/var/run/x"), link("/l", "x", uid=4),
    directory("/x", xattrs=(("user.a", "00"),)), directory("/home/you", uid=5),
])
def test_what_tmpfiles_refuses(odd: Entry) -> None:
    parents = [directory("/run"), directory("/var"), directory("/var/run"), directory("/home", uid=4)]
    with pytest.raises(ExportError, match=odd.path):
        made("tmpfiles", manifest(*parents, odd))


def test_tmpfiles_make_what_the_manager_makes() -> None:
    command = Command(("/d",), service=Service(directories=(MadeDirectory(JailPath("/run/d"), 0o750, 3, 4),)))
    assert made("tmpfiles", manifest(command=command)) == b'd "/run/d" 0750 3 4 -\n'


# --- sysusers.d -----------------------------------------------------------------------------------------------------

_GROUPS = b"root:x:0:\nwww-data:x:33:alice,bob\nssl:x:110:www-data,nobody\n"
_USERS = b'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:a "b" 100%:/var/www:/usr/sbin/nologin\nalice:x:5:33::/:\n'


def _sysusers(users: bytes, groups: bytes, **fields: object) -> str:
    texts = {"/etc/passwd": users, "/etc/group": groups}
    jail = manifest(*(entry(path) for path, text in texts.items() if text), **fields)
    return b"".join(sysusers(Request(jail, lambda one: iter((texts[one.path],)), 0))).decode()


def test_accounts_come_back() -> None:
    assert _sysusers(_USERS, _GROUPS) == (
        'g root 0\ng www-data 33\ng ssl 110\nu root 0:0 "root" /root /bin/sh\n'
        'u www-data 33:33 "a \\"b\\" 100%%" /var/www /usr/sbin/nologin\nu alice 5:33 - /\n'
        "m alice www-data\nm www-data ssl\n"
    )


@pytest.mark.parametrize(("users", "groups", "named"), [
    (b"a b:x:1:0::/:\n", _GROUPS, "a b"), (b"a:x:-1:0::/:\n", _GROUPS, "-1"), (b"a:x:65535:0::/:\n", _GROUPS, "65535"),
    (b"a:x:1:7::/:\n", _GROUPS, "7"), (b"a:x:1:0:\x1b[:/:\n", _GROUPS, "a"), (b"a:x:1:0::/a b:\n", _GROUPS, "/a b"),
    (b"a:x:1:0::/../:\n", _GROUPS, "/../"), (b"a:x\n", _GROUPS, "'a'"), (b"a:x:1:0::/:\n", b"b c:x:0:\n", "b c"),
])
def test_what_sysusers_refuses(users: bytes, groups: bytes, named: str) -> None:
    with pytest.raises(ExportError) as caught:
        _sysusers(users, groups)
    assert named in caught.value.message and caught.value.hint


def test_numbers_that_are_not_known() -> None:
    command = Command(("/d",), user="d:33", uid=33, gid=33)
    assert _sysusers(b"", b"", accounts=Accounts(users=("d", "root")), command=command) == "u d 33\nu root 0\n"
    for names in (("d", "e"), ()):
        with pytest.raises(ExportError, match="'e'" if names else "no accounts"):
            _sysusers(b"", b"", accounts=Accounts(users=names), command=command if names else Command(("/d",)))


@EXAMPLES
@given(st.lists(st.lists(st.text(st.characters(exclude_characters=":\n", exclude_categories=["Cs"])), min_size=3, max_size=3)))
def test_accounts_of_any_text(rows: list[list[str]]) -> None:
    users = "".join(f"{name}:x:{number}:0:{about}:/home/{about}:\n" for number, (name, about, _) in enumerate(rows)).encode()
    try:
        lines = _sysusers(users, _GROUPS).split("\n")
    except ExportError:
        return
    told = [unit_reader.words(line, False) for line in lines if line.startswith("u ")]
    assert [(words[1], words[2], words[3]) for words in told] == [
        (name, f"{number}:0", about.replace("%", "%%") or "-") for number, (name, about, _) in enumerate(rows)
    ]


# --- jk_init.ini ----------------------------------------------------------------------------------------------------


def _section(data: bytes) -> dict[str, list[str]]:
    """The lists of the section, as jk_lib.config_get_option_as_list has them; `links` are those of the one that goes before."""
    parser = configparser.ConfigParser()
    parser.read_string(data.decode("utf-8"))
    name = parser.sections()[-1]
    found = {key: [word.strip() for word in parser.get(name, key).split(",")] for key in parser.options(name)}
    assert found.pop("includesections", None) == (parser.sections()[:-1] or None)
    for each in parser.sections()[:-1]:
        found["links"] = [word.strip() for word in parser.get(each, "emptydirs").split(",")]
    return found


@EXAMPLES
@boxed.with_each_name
@given(boxed.boxes())
def test_jailkit_comes_back(jail: Manifest) -> None:
    # Sockets and modes that jk_init can't make are tested below: with them, nearly all of these would be refused.
    plain = tuple(replace(one, mode=0o755, uid=0) if one.type is EntryType.DIRECTORY else one for one in jail.entries)
    jail = replace(jail, sockets=(), entries=plain)
    data = boxed.made_or_refused("jailkit", jail, name="odd")
    if data is None:
        return
    lists = _section(data)
    assert lists.get("need_proc") == (["1"] if jail.mounts else None)
    keys = ("links", "paths", "paths_w_owner", "paths_w_setuid", "emptydirs", "devices")
    by_list = {path: key for key in keys for path in lists.get(key, ())}
    for one in jail.entries:
        holds = any(other.path.startswith(one.path + "/") for other in jail.entries)
        if one.type is EntryType.DIRECTORY:
            assert holds or by_list.pop(one.path) == "emptydirs"
        elif one.type is EntryType.FILE:
            wanted = "paths_w_setuid" if one.mode & 0o6000 else "paths_w_owner" if one.uid else "paths"
            assert by_list.pop(one.path) == wanted
        else:
            assert by_list.pop(one.path) in (("devices",) if one.device else ("paths", "links"))
    assert not by_list


def test_a_link_to_a_directory_is_not_followed_into_it() -> None:
    jail = manifest(
        directory("/usr"), directory("/usr/lib"), entry("/usr/lib/l.so.1"), link("/usr/lib/l.so", "l.so.1"),
        link("/lib", "usr/lib"), device("/null", 1, 3), directory("/etc"), entry("/etc/passwd", content=Content.ACCOUNTS),
        entry("/etc/ld.so.cache", content=Content.LD_CACHE), directory("/srv"),
        accounts=Accounts(users=("d", "root"), groups=("g",)),
    )
    lists = _section(made("jailkit", jail))
    assert lists == {
        "comment": ["httpd", "learned by tracejail"], "paths": ["/usr/lib/l.so", "/usr/lib/l.so.1"],
        "links": ["/lib"], "emptydirs": ["/srv"], "users": ["d", "root"], "groups": ["g"], "devices": ["/null"],
    }


_BECAUSE = Because("/a", "connect", "/b")


@pytest.mark.parametrize("odd", [
    manifest(entry("/a,b")), manifest(entry("/a\nb")), manifest(entry("/a ")), manifest(entry("/a*b")),
    manifest(entry("/\udcff")), manifest(entry("/$(id)", mode=0o755)), manifest(entry("/lib;id")),
    manifest(link("/l", "/etc/shadow")), manifest(directory("/tmp", mode=0o1777)), manifest(directory("/d", uid=3)),
    manifest(directory("/d", mode=0o711), entry("/d/f"), link("/l", "d")),
    manifest(directory("/d", mode=0o2755)), manifest(device("/d", 1, 256)), manifest(entry("/p", type=EntryType.FIFO)),
    manifest(entry("/x", xattrs=(("user.a", "00"),))), manifest(entry("/shadow", content=Content.ACCOUNTS)),
    manifest(entry("/e", content=Content.EMPTY)), manifest(sockets=(PathNote("/run/x", "bound", _BECAUSE),)),
    manifest(mounts=(Mount("sysfs", JailPath("/sys")),)), manifest(accounts=Accounts(users=("a,b",))),
    manifest(accounts=Accounts(everything=True)), manifest(command=Command(("/[",))),
])
def test_what_jailkit_refuses(odd: Manifest) -> None:
    with pytest.raises(ExportError) as caught:
        b"".join(jailkit(Request(odd, lambda one: iter(()), 0)))
    assert caught.value.hint and "\n" not in caught.value.message
