"""JSON piece by piece: wherever the pieces end, it is read as the whole text is."""

from __future__ import annotations

import json

import pytest

from tracejail.manifest import stream
from tracejail.manifest.stream import Reader


def reader(text: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """In pieces of so many characters, or what the reader asks for beyond them."""
    monkeypatch.setattr(stream, "_PIECE", piece)
    at = 0

    def read(size: int) -> str:
        nonlocal at
        at += size
        return text[at - size : at]

    return Reader(read)


def whole(one: Reader) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in one.members():
        found[key] = list(one.elements()) if one.peek() == "[" else one.value()
    one.finish()
    return found


TEXTS = [
    "{}", "{ }", ' {"a": []}\n', '{"a": [ ], "b": {}}', '{"a":1}', '{"a": [1, -2.5, 1e5, 1E-3, 120], "b": 12.25}',
    '{"a": ["x\\"}, {\\"y", "\\ud83d\\ude00", "\\udcff", "ä日", ""], "b": [[], [[1]], {"c": [{}]}],\r\n\t"d": null}',
    '{"true": true, "false": [false, true, null]}', json.dumps({"a": [{"path": f"/{n}", "n": n} for n in range(40)]}, indent=2),
]


@pytest.mark.parametrize("text", TEXTS)
def test_as_the_whole_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for piece in range(1, len(text) + 2):
        assert whole(reader(text, piece, monkeypatch)) == json.loads(text)


@pytest.mark.parametrize("text", TEXTS)
def test_every_cut_is_seen(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for end in range(len(text.rstrip())):
        for piece in (1, 7, len(text)):
            with pytest.raises(ValueError):
                whole(reader(text[:end], piece, monkeypatch))


@pytest.mark.parametrize(
    "text",
    ['{"a": 1,}', '{"a": [1,]}', '{"a" 1}', "{1: 2}", '{"a": 1 "b": 2}', '{"a": [1 2]}', '{"a": 1.}', '{"a": 01}', '{"a": 1e}',
     '{,}', '{"a": "\x01"}', '{"a": "\\x"}', '{"a": 1}}', '{"a": 1} x', '{"a": +1}', "{'a': 1}", '{"a": [,]}', '{"a": 1]',
     '\ufeff{"a": 1}', '{"a": nul}', '{"a": ' + "9" * 5000 + "}"],
)
def test_what_is_no_json(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError):
        json.loads(text)
    for piece in (1, 2, 3, 5, len(text)):
        with pytest.raises(ValueError):
            whole(reader(text, piece, monkeypatch))


def test_the_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"a": [\n 1,\n 2,\n x]}'
    for piece in (1, 4, 100):
        with pytest.raises(ValueError, match="line 4"):
            whole(reader(text, piece, monkeypatch))


def test_a_long_value_is_not_tried_again_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    one = reader('{"a": "' + "x" * 100_000 + '"}', 10, monkeypatch)
    tries = 0
    decode = stream._decode

    def count(text: str, at: int) -> tuple[object, int]:
        nonlocal tries
        tries += 1
        return decode(text, at)

    monkeypatch.setattr(stream, "_decode", count)
    assert whole(one) == {"a": "x" * 100_000} and tries < 30


def test_what_may_hold_an_odd_character_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"a": ["x\\n\\\\", "\\u0000", "ä", "\\ud800", "\\\\u"]}'
    one = reader(text, 100, monkeypatch)
    seen = [(value, one.plain) for _ in one.members() for value in one.elements()]
    assert [plain for _, plain in seen] == [True, False, False, False, False]
