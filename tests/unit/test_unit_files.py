"""Where service units lie: search path, aliases, templates, drop-ins, masks."""

from __future__ import annotations

from pathlib import Path

import pytest
from roots import ETC, LIB, Make, raises

from tracejail.model import Step
from tracejail.resolve.host import open_host_root
from tracejail.resolve.unit_files import find_unit, full_name
from tracejail.resolve.units import read_unit


@pytest.mark.parametrize(("word", "name"), [("a", "a.service"), ("a.service", "a.service"), ("a@b.c", "a@b.c.service")])
def test_names(word: str, name: str) -> None:
    assert full_name(word) == name


@pytest.mark.parametrize("word", ["a b", "a.socket", "a.timer", "", "x" * 260, "@x"])
def test_wrong_names(word: str) -> None:
    with raises("--unit"):
        full_name(word)


def test_the_first_directory_wins_and_drop_ins_add(make: Make) -> None:
    host = make(**{
        f"{LIB}/a-b.service": "[Service]\nExecStart=/lib\n", f"{ETC}/a-b.service": "[Service]\nExecStart=/etc\n",
        "run/systemd/system/a-b.service.d/10.conf": "run", f"{ETC}/a-b.service.d/10.conf": "etc",
        f"{LIB}/a-.service.d/05.conf": "dash", f"{LIB}/a-.service.d/10.conf": "lost", f"{LIB}/service.d/99.conf": "type",
        f"{LIB}/a-b.service.d/20.conf": "masked", f"{ETC}/a-b.service.d/20.conf": "->/dev/null",
        f"{LIB}/a-b.service.d/30.txt": "no", f"{LIB}/b.service.d/30.conf": "no",
    })
    files = find_unit(host, "a-b.service")
    assert files is not None and files.texts == ("[Service]\nExecStart=/etc\n", "dash", "etc", "type")


def test_aliases(make: Make) -> None:
    host = make(**{
        f"{LIB}/real.service": "real", f"{ETC}/other.service": "->/lib/systemd/system/real.service",
        f"{ETC}/third.service": "->other.service", f"{ETC}/other.service.d/a.conf": "of the alias",
        f"{ETC}/linked.service": "->/opt/x.service", "opt/x.service": "linked",
        f"{ETC}/loop.service": "->pool.service", f"{ETC}/pool.service": "->loop.service",
        f"{ETC}/gone.service": "->/lib/systemd/system/nowhere.service",
    })
    files = find_unit(host, "third.service")
    assert files is not None and files.name == "real.service" and files.texts == ("real", "of the alias")
    assert set(files.aliases) == {"third.service", "other.service"}
    linked = find_unit(host, "linked.service")
    assert linked is not None and (linked.name, linked.texts) == ("linked.service", ("linked",))
    assert find_unit(host, "gone.service") is None
    with raises("lead nowhere"):
        find_unit(host, "loop.service")


def test_templates(make: Make) -> None:
    host = make(**{
        f"{LIB}/t@.service": "template", f"{LIB}/t@one.service": "one", f"{ETC}/u@.service": "->t@.service",
        f"{ETC}/t@.service.d/a.conf": "all", f"{ETC}/t@two.service.d/b.conf": "two",
    })
    names = ("t@one.service", "t@two.service", "u@two.service")
    texts = {name: found.texts for name in names if (found := find_unit(host, name))}
    assert texts == {
        "t@one.service": ("one", "all"), "t@two.service": ("template", "all", "two"), "u@two.service": ("template", "all", "two"),
    }
    with raises("is a template"):
        read_unit(host, "t@")


@pytest.mark.parametrize("text", ["->/dev/null", ""])
def test_masked(make: Make, text: str) -> None:
    with raises("masked"):
        read_unit(make(**{f"{ETC}/a.service": text, f"{LIB}/a.service": "[Service]\nExecStart=/a"}), "a")


def test_not_there(make: Make) -> None:
    host = make(**{f"{LIB}/b.service": "x", "etc/init.d/old": "#!"})
    with raises("a.service: no such unit in /lib/systemd/system"):
        read_unit(host, "a")
    with raises("old.service") as caught:
        read_unit(host, "old")
    assert "/etc/init.d/old" in caught.value.hint


def test_a_path(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "own@x.service"
    path.write_text("[Service]\nExecStart=/bin/a %i\n")
    unit = read_unit(make(**{f"{ETC}/own@.service.d/a.conf": "[Service]\nUser=web"}), str(path))
    assert (unit.name, unit.source, unit.start, unit.user) == ("own@x.service", str(path), (Step(("/bin/a", "x")),), "web")
    with raises("No such file"):
        read_unit(open_host_root("/"), str(tmp_path / "none.service"))
