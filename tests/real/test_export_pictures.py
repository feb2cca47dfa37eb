"""Bills of materials and pictures of a jail, each taken by its real tool: a program's jail, and one of odd names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from real import Site, call, checked, learn
from test_export import exported

from tests.odd_names import NAMES

_SAYS = "import ssl, sqlite3, zoneinfo; print(zoneinfo.ZoneInfo('Europe/Berlin').key)"
_BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def jails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """By name: a program's jail, and one of odd names."""
    top = tmp_path_factory.mktemp("pictures")
    top.chmod(0o755)
    program, odd = Site(top / "program"), Site(top / "odd")
    for site in (program, odd):
        site.top.mkdir(mode=0o755)
        site.fresh(None)
    learn(program, "/usr/bin/python3", "-c", _SAYS)
    for number, name in enumerate(NAMES):
        Path(os.fsdecode(os.fsencode(f"{odd.files}/{name}"))).write_bytes(b"%d" % number * 100)
    os.link(odd.files / "a b", odd.files / "second")
    os.symlink("second", odd.files / "a link -> second")
    words = [*NAMES, "a link -> second"]
    learn(odd, "--include", str(odd.files / "second"), "/usr/bin/wc", "-c", *(f"{odd.files}/{name}" for name in words))
    yield {"program": program.jail, "odd": odd.jail}


def files_of(jail: Path, kind: str = "file") -> list[str]:
    """The paths of a type in a jail's manifest."""
    entries = json.loads(Path(f"{jail}.json").read_text("utf-8", "surrogateescape"))["entries"]
    return [entry["path"] for entry in entries if entry["type"] == kind]


# --- bills of materials -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["program", "odd"])
def test_a_strict_validator_takes_cyclonedx(jails: dict[str, Path], tmp_path: Path, which: str) -> None:
    text = exported("cyclonedx", jails[which], tmp_path).read_text("ascii")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    if which == "program":
        urls = [one["purl"] for one in json.loads(text)["components"] if "purl" in one]
        version = checked("dpkg-query", "-W", "-f", "${Version}", "libssl3").replace("+", "%2B")
        release = checked("/bin/sh", "-c", '. /etc/os-release; printf %s "$ID-$VERSION_ID"')
        assert f"pkg:deb/debian/libssl3@{version}?arch=amd64&distro={release}" in urls
        (libssl,) = (one for one in json.loads(text)["components"] if one["name"] == "libssl3")
        assert {"license": {"id": "Apache-2.0", "acknowledgement": "declared"}} in libssl["licenses"]


def test_the_validator_is_one(jails: dict[str, Path], tmp_path: Path) -> None:
    document = json.loads(exported("cyclonedx", jails["program"], tmp_path).read_text("ascii"))
    document["components"][0]["colour"] = "red"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


@pytest.mark.parametrize("which", ["program", "odd"])
def test_pyspdxtools_takes_spdx(jails: dict[str, Path], tmp_path: Path, which: str) -> None:
    """Also where it turns it into the form of tags, and that back, with the same files."""
    made = exported("spdx", jails[which], tmp_path)
    file, tags = tmp_path / "jail.spdx.json", tmp_path / "jail.spdx"
    made.rename(file)
    for words in (["-i", str(file), "-o", str(tags)], ["-i", str(tags), "-o", str(tmp_path / "back.spdx.json")]):
        done = call([str(_BIN / "pyspdxtools"), *words])
        assert done.returncode == 0, done.stdout + done.stderr
    names = [
        [one["fileName"] for one in json.loads(path.read_text("utf-8"))["files"]] for path in (file, tmp_path / "back.spdx.json")
    ]
    assert sorted(names[0]) == sorted(names[1]) and len(names[0]) == len(files_of(jails[which]))


def test_the_same_bytes_twice(jails: dict[str, Path], tmp_path: Path) -> None:
    for form in ("cyclonedx", "spdx"):
        (tmp_path / form).mkdir()
        first = exported(form, jails["program"], tmp_path).read_bytes()
        assert exported(form, jails["program"], tmp_path / form, "--from", "/").read_bytes() == first
