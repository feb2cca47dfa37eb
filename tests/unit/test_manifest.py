"""The manifest's text: round trip, and what is refused."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from nouns import BECAUSE, device, directory, entry, link, manifest

from tracejail.errors import ManifestError
from tracejail.manifest import dump, load, read_manifest, write_manifest
from tracejail.model import Accounts, Command, Content, JailPath, Manifest, Mount, Origin, PathNote


def full() -> Manifest:
    return manifest(
        directory("/dev"), directory("/etc"), directory("/etc/odd"),
        device("/dev/null", 1, 3, origin=Origin.BASE, because=None),
        entry("/etc/passwd", content=Content.ACCOUNTS),
        entry("/etc/twin", hard_link="/etc/passwd", package="base-files", version="12.4"),
        entry("/etc/odd/" + os.fsdecode(b"\xff\xfe name\n\x1b[31m"), mode=0o4755, xattrs=(("security.capability", "0a0b"),)),
        link("/etc/here", "odd", via="/etc/odd"),
        command=Command(("/usr/sbin/httpd", "--", os.fsdecode(b"\x80")), user="www-data", environment=("TZ",), expect=3),
        accounts=Accounts(False, ("root", "www-data"), ("www-data",)),
        mounts=(Mount("proc", JailPath("/proc")),),
        absent=(PathNote("/etc/none", "not on the host", BECAUSE),),
        denied=(PathNote("/etc/shadow", "password hashes", BECAUSE),),
        sockets=(PathNote("/dev/log", "a socket", BECAUSE),),
        listens=("tcp:80",),
        warnings=("beware",),
    )


def test_round_trip_keeps_everything() -> None:
    assert load(dump(full()), "M") == full()


def test_same_manifest_same_bytes() -> None:
    assert dump(load(dump(full()), "M")) == dump(full())


def test_one_entry_a_line_and_defaults_left_out() -> None:
    lines = [line for line in dump(manifest(directory("/a"), entry("/a/b"))).splitlines() if '"path"' in line]
    assert [json.loads(line.rstrip(","))["path"] for line in lines] == ["/a", "/a/b"]
    assert "xattrs" not in lines[1] and "hard_link" not in lines[1]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_cut_short(part: float) -> None:
    text = dump(full())
    with pytest.raises(ManifestError, match=r"^M: .*cut short") as caught:
        load(text[: int(len(text) * part)], "M")
    assert caught.value.hint and "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "7", '"x"', "[" * 200_000, '{"tracejail": ' + "9" * 5000 + "}"])
def test_no_manifest_at_all(text: str) -> None:
    with pytest.raises(ManifestError):
        load(text, "M")


@pytest.mark.parametrize("version", [0, 2, True, 1.0, "1", None, []])
def test_unknown_format(version: object) -> None:
    raw = json.loads(dump(full()))
    with pytest.raises(ManifestError, match="format"):
        load(json.dumps({**raw, "tracejail": version}), "M")


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/a/../b"}, {"path": "a"}, {"path": "/a/"}, {"path": "//a"}, {"path": "/./a"}, {"path": "/"}, {"path": ""},
        {"path": "/a\0b"}, {"path": 7}, {"path": ["/a"]}, {"path": "/\ud800"}, {"path": "/no/parent"},
        {"path": "/" + "a/" * 40000 + "a"},
        {"mode": "10000"}, {"mode": "-1"}, {"mode": "0o644"}, {"mode": "8"}, {"mode": ""}, {"mode": "\u0666"}, {"mode": 420},
        {"mode": True}, {"mode": None},
        {"uid": -1}, {"uid": 1 << 32}, {"gid": "0"}, {"uid": True}, {"uid": 1.5},
        {"size": -1}, {"size": 1 << 60}, {"size": "12"},
        {"sha256": "xyz"}, {"sha256": "A" * 64}, {"sha256": "a" * 63},
        {"type": "door"}, {"type": []}, {"origin": "rumour"}, {"content": "elsewhere"},
        {"device": [1, 3]}, {"type": "char"}, {"type": "block", "device": [1]}, {"type": "char", "device": [1, -3]},
        {"type": "char", "device": [1 << 20, 3]}, {"type": "char", "device": [1, "3"]},
        {"type": "link"}, {"type": "link", "target": "x" * 4096}, {"type": "link", "target": "a\0b"},
        {"hard_link": "/none"}, {"hard_link": "/a"}, {"xattrs": [["user.x", "0"]]}, {"xattrs": [["user.x"]]},
        {"because": {"program": "/x"}}, {"surprise": 1},
    ],
)
def test_hostile_entry(fields: dict[str, Any]) -> None:
    raw = json.loads(dump(manifest(entry("/a"))))
    raw["entries"][0].update(fields)
    with pytest.raises(ManifestError, match="^M: "):
        load(json.dumps(raw), "M")


def test_twice() -> None:
    with pytest.raises(ManifestError, match="/a: twice"):
        load(dump(manifest(entry("/a"), entry("/a"))), "M")


@pytest.mark.parametrize("above", [entry("/a"), link("/a", "/etc"), device("/a", 1, 3)])
def test_beneath_what_is_no_directory(above: Any) -> None:
    with pytest.raises(ManifestError, match="no directory"):
        load(dump(manifest(above, entry("/a/b"))), "M")


@pytest.mark.parametrize("mount", [("proc", "/etc"), ("ext4", "/proc"), ("proc", "/proc/../etc"), ("proc", "/proc\x1b[31m")])
def test_hostile_mount(mount: tuple[str, str]) -> None:
    with pytest.raises(ManifestError, match="mount"):
        load(dump(manifest(mounts=(Mount(mount[0], JailPath(mount[1])),))), "M")


def test_written_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text("old")
    path.chmod(0o644)
    write_manifest(full(), str(path))
    assert read_manifest(str(path)) == full()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [name.name for name in tmp_path.iterdir()] == ["m.json"]


def test_unreadable_places(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ManifestError) as caught:
            read_manifest(str(path))
        assert str(path) in caught.value.message and caught.value.hint


def test_any_order_and_layout() -> None:
    raw = json.loads(dump(full()))
    layouts: list[dict[str, Any]] = [
        {"sort_keys": True, "ensure_ascii": False}, {"indent": 4}, {"separators": (",", ":")},
    ]
    for text in (json.dumps(raw, **layout) for layout in layouts):
        assert load(text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"), "M") == full()


@pytest.mark.parametrize(
    "text",
    ['{"tracejail": 1, "jail": 7}', '{"tracejail": 1, "tracejail": 1}', '{"tracejail": 1, "tracejail": 2}',
     '{"tracejail": 1, "entries": [], "entries": []}',
     '{"tracejail": 1, "entries": {}}', '{"tracejail": 1, "entries": [[]]}', '{"tracejail": 1, "entries": ["/a"]}',
     '{"tracejail": 1, "entries": null}', '{"tracejail": 1, "surprise": []}'],
)
def test_fields_that_no_manifest_has(text: str) -> None:
    with pytest.raises(ManifestError, match="^M: (?!not)"):
        load(text, "M")


@pytest.mark.parametrize("text", ['{"name": "other", "version": 1}', '{"entries": [], "name": 1}', '{"entries": 5}', "{}", "[]"])
def test_other_documents(text: str) -> None:
    with pytest.raises(ManifestError, match="^M: not a manifest of tracejail"):
        load(text, "M")


def test_behind_its_end() -> None:
    with pytest.raises(ManifestError, match="not JSON"):
        load(dump(full()) + "x", "M")


@pytest.mark.parametrize("odd", ["plain", "ä", "\\u0041", "\\udc80"])
@pytest.mark.parametrize(
    ("field", "words"),
    [('"mode": 420', "mode: 420 is no octal"), ('"uid": true', "uid: True is of the wrong type"), ('"size": 1.0', "size: 1.0"),
     ('"type": "door"', "type: 'door' is not known"), ('"type": []', "not known"),
     ('"because": {"program": 1}', "because: program: 1"),
     ('"because": []', "because: not an object"), ('"device": {}', "device: not a list"),
     ('"surprise": 1', "surprise: unknown field"),
     ('"because": {"x": 1}', "because: x: unknown field"), ('"because": {}', "because: missing")],
)
def test_the_same_words_for_entries_with_and_without_odd_characters(odd: str, field: str, words: str) -> None:
    text = dump(manifest(entry("/a", sha256="", because=None)))
    line = next(line for line in text.splitlines() if '"path"' in line)
    load(text.replace(line, line.replace("}", f', "package": "{odd}"}}')), "M")
    with pytest.raises(ManifestError) as caught:
        load(text.replace(line, line.replace("}", f', "package": "{odd}", {field}}}')), "M")
    assert "M: entries: /a: " in caught.value.message and words in caught.value.message


def test_the_collector_is_as_it_was() -> None:
    for text in (dump(full()), "{"):
        with contextlib.suppress(ManifestError):
            load(text, "M")
        assert gc.isenabled()
