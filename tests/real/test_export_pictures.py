"""Bills of materials and pictures of a jail, each taken by its real tool: a program's jail, and one of odd names."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from browser import Browser, browser
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from real import ENVIRONMENT, Site, call, checked, learn, until
from test_export import exported

from tests.odd_names import NAMES
from tracejail.export.folded import ODD
from tracejail.export.text import notation

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


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all the pages; nothing of it is left."""
    profile = tmp_path_factory.mktemp("chromium")
    with browser(profile) as running:
        yield running
    until(lambda: not _running(profile), "the browser's processes are gone", 10)


def _running(profile: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended in this moment
            if os.fsencode(profile) in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


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
    documents = [json.loads(path.read_text("utf-8")) for path in (file, tmp_path / "back.spdx.json")]
    names = [[one["fileName"] for one in document["files"]] for document in documents]
    assert sorted(names[0]) == sorted(names[1]) and len(names[0]) == len(files_of(jails[which]))


def test_the_same_bytes_twice(jails: dict[str, Path], tmp_path: Path) -> None:
    for form in ("cyclonedx", "spdx"):
        (tmp_path / form).mkdir()
        first = exported(form, jails["program"], tmp_path).read_bytes()
        assert exported(form, jails["program"], tmp_path / form, "--from", "/").read_bytes() == first


# --- the page ---------------------------------------------------------------------------------------------------------


def page(jail: Path, at: Path) -> Path:
    """The page of a jail, in a file that a browser takes for one."""
    made = at / "jail.html"
    exported("html", jail, at).rename(made)
    return made


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["wide", "phone"])
def test_the_page_by_keyboard(jails: dict[str, Path], tmp_path: Path, chromium: Browser, size: tuple[int, int]) -> None:
    chromium.faults.clear()
    chromium.show(page(jails["program"], tmp_path), *size)
    assert chromium.ask("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the screen"
    focus = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"
    # The link over all, then the treemap: one stop, in which arrows move.
    chromium.press("Tab", "Tab")
    first = chromium.ask(focus)
    assert first.startswith("/usr/bin/python3")
    chromium.press("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "Home")
    assert chromium.ask(focus) == first
    chromium.press("ArrowDown" if size[0] < 600 else "ArrowRight")
    library = chromium.ask(focus)
    assert library != first
    assert chromium.ask("document.getElementById('map-says').textContent").startswith(library.split(",")[0])
    chromium.press("Enter")
    assert chromium.ask(focus) == "why"
    chain = chromium.ask("[...document.querySelectorAll('#why ol:first-of-type li .path')].map(each => each.textContent)")
    assert chain[0] == library.split(",")[0] and "/usr/bin/python3" in chain[-1] and len(chain) > 1
    assert chromium.ask(_VISIBLE)
    chromium.press("Escape")
    assert chromium.ask(focus) == library and chromium.ask("document.getElementById('why').hidden")
    chromium.press("Tab")
    assert chromium.ask(focus) == "search"
    chromium.type("sqlite")
    shown = "[...document.querySelectorAll('#list .path')].map(each => each.textContent)"
    assert all("sqlite" in each for each in chromium.ask(shown)) and chromium.ask(shown)
    chromium.press("ArrowDown", "ArrowDown", "ArrowUp", "Enter")
    assert chromium.ask(focus) == "why" and "sqlite" in chromium.ask("document.querySelector('#why .path').textContent")
    chromium.press("Escape", "Tab")
    assert chromium.faults == []


def test_light_and_dark(jails: dict[str, Path], tmp_path: Path, chromium: Browser) -> None:
    """The text is told from what is behind it in both, by the measure of WCAG; they are kept to be looked at."""
    chromium.faults.clear()
    made = page(jails["program"], tmp_path)
    pictures = []
    for dark in (False, True):
        for width, height in ((1280, 900), (390, 844)):
            chromium.show(made, width, height, dark)
            chromium.ask("document.querySelector('.tile').click()")
            pictures.append(chromium.picture(tmp_path / f"{'dark' if dark else 'light'}-{width}.png"))
            for selector in ("body", ".hint", ".group > span", "#why p", "#list .of", ".good"):
                ratio = chromium.ask(_CONTRAST + f"(document.querySelector({json.dumps(selector)}))")
                assert ratio >= 4.5, (dark, selector, ratio)
    assert len(set(pictures)) == 4 and chromium.faults == []


_VISIBLE = """(() => {
  const box = document.querySelector("#why li").getBoundingClientRect();
  return document.elementFromPoint(box.left + 30, box.top + 10).closest("#why") !== null && box.bottom <= innerHeight;
})()"""

_CONTRAST = """(element => {
  const parts = text => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let at = element;
  while (at.parentElement && (parts(getComputedStyle(at).backgroundColor)[3] ?? 1) === 0) at = at.parentElement;
  const [one, other] = [light(parts(getComputedStyle(element).color)), light(parts(getComputedStyle(at).backgroundColor))];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
})"""


def test_odd_names_on_the_page(jails: dict[str, Path], tmp_path: Path, chromium: Browser) -> None:
    chromium.faults.clear()
    chromium.show(page(jails["odd"], tmp_path), 1280, 900)
    entries = json.loads(Path(f"{jails['odd']}.json").read_text("utf-8", "surrogateescape"))["entries"]
    assert chromium.ask("document.querySelectorAll('#list li').length") == len(entries)
    assert chromium.ask("document.scripts.length") == 2 and chromium.ask("document.querySelectorAll('#list b').length") == 0
    shown = chromium.ask("[...document.querySelectorAll('#list .path')].map(each => each.textContent)")
    top = str(jails["odd"].parent / "files")
    for name in ("<b>", "<script>", "&amp;", "\\", "a b", "日本", "😀"):
        assert f"{top}/{name}" in shown
    for name, escaped in (("\x1b[31m", "\\x1b[31m"), ("\udcff", "\\xff"), ("\u202e", "\\u202e"), ("a\nb", "a\\x0ab")):
        assert f"{top}/{name}" not in shown and f"{top}/{escaped}" in shown
    assert chromium.ask("JSON.parse(document.getElementById('data').textContent).entries.length") == len(entries)
    assert chromium.faults == []


def test_a_fault_would_be_seen(tmp_path: Path, chromium: Browser) -> None:
    odd = tmp_path / "odd.html"
    odd.write_text("<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\"><script>1</script>")
    chromium.faults.clear()
    chromium.show(odd, 800, 600)
    assert "Content Security Policy" in "".join(chromium.faults)


# --- graphs and trees of sizes ----------------------------------------------------------------------------------------

_TEXT = "{http://www.w3.org/2000/svg}text"
_FLAMEGRAPH = "/usr/share/perl5/Devel/NYTProf/flamegraph.pl"


def svg_texts(text: str) -> list[str]:
    """What is written in a picture."""
    return ["".join(element.itertext()).replace("\xa0", " ") for element in ElementTree.fromstring(text).iter(_TEXT)]


@pytest.mark.parametrize("which", ["program", "odd"])
def test_dot_draws_it(jails: dict[str, Path], tmp_path: Path, which: str) -> None:
    """Each name is in the picture as a line of its own, in the notation; dot has no complaint."""
    done = call(["dot", "-Tsvg", str(exported("dot", jails[which], tmp_path))])
    assert (done.returncode, done.stderr) == (0, "")
    said = svg_texts(done.stdout)
    files = files_of(jails[which])
    known = sorted(map(notation, files))
    assert sorted(each for each in said if each in known) == known
    if which == "program":
        (group,) = (
            node for node in ElementTree.fromstring(done.stdout).iter("{http://www.w3.org/2000/svg}g")
            if node.get("class") == "node" and any("libsqlite3.so.0." in (text.text or "") for text in node.iter(_TEXT))
        )
        assert [(text.text or "").rpartition("/")[2] for text in group.iter(_TEXT)][1] == "libsqlite3.so.0"


def test_dot_draws_packages(jails: dict[str, Path], tmp_path: Path) -> None:
    done = call(["dot", "-Tsvg", str(exported("dot", jails["program"], tmp_path, "--packages"))])
    assert (done.returncode, done.stderr) == (0, "")
    said = svg_texts(done.stdout)
    assert any(each.startswith("libsqlite3-0:amd64 ") for each in said) and not any("libsqlite3.so" in each for each in said)


@pytest.mark.parametrize("which", ["program", "odd"])
def test_ncdu_reads_it(jails: dict[str, Path], tmp_path: Path, which: str) -> None:
    """What it exports again has the same names and sizes, and its two names of a file are of one inode."""
    done = subprocess.run(
        ["ncdu", "-e", "-f", str(exported("ncdu", jails[which], tmp_path)), "-o", "-"], env={**ENVIRONMENT, "TERM": "xterm"},
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, dict[str, Any]] = {}
    left = [(each, "") for each in json.loads(done.stdout.decode("utf-8", "surrogateescape"))[3][1:]]
    while left:
        one, above = left.pop()
        item = one[0] if isinstance(one, list) else one
        found[f"{above}/{item['name']}"] = item
        left += [(each, f"{above}/{item['name']}") for each in (one[1:] if isinstance(one, list) else ())]
    entries = json.loads(Path(f"{jails[which]}.json").read_text("utf-8", "surrogateescape"))["entries"]
    assert sorted(found) == sorted(entry["path"] for entry in entries)
    for entry in entries:
        item = found[entry["path"]]
        assert item["mode"] & 0o7777 == int(entry["mode"], 8) and item["uid"] == entry["uid"]
        if entry["type"] == "file":
            assert item.get("asize", 0) == entry.get("size", 0)
    if which == "odd":
        (one, other) = (item for path, item in found.items() if path.endswith(("/files/a b", "/files/second")))
        assert one["ino"] == other["ino"] and one["nlink"] == other["nlink"] == 2


def test_ncdu_shows_it(jails: dict[str, Path], tmp_path: Path) -> None:
    """On a terminal: its first screen has the largest directory and the sum."""
    made = exported("ncdu", jails["program"], tmp_path)
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    running = subprocess.Popen(["ncdu", "-f", str(made)], env={**ENVIRONMENT, "TERM": "vt100"}, stdin=terminal, stdout=terminal,
                               stderr=terminal, start_new_session=True)
    os.close(terminal)
    said = b""
    try:
        end = time.monotonic() + 20
        while b"Items:" not in said and time.monotonic() < end and select.select([shown], [], [], 20)[0]:
            said += os.read(shown, 65536)
        os.write(shown, b"q")
        assert running.wait(10) == 0
    finally:
        running.kill()
        running.wait(10)
        os.close(shown)
    assert b"/usr" in said and b"Total disk usage:" in said


@pytest.mark.parametrize("words", [(), ("--packages",)], ids=["paths", "packages"])
def test_flamegraph_draws_it(jails: dict[str, Path], tmp_path: Path, words: tuple[str, ...]) -> None:
    for which, jail in jails.items():
        made = exported("folded", jail, tmp_path, *words)
        done = call(["perl", _FLAMEGRAPH, "--countname", "bytes", "--minwidth", "0", str(made)])
        assert (done.returncode, done.stderr) == (0, ""), which
        titles = ElementTree.fromstring(done.stdout).iter("{http://www.w3.org/2000/svg}title")
        said = {(title.text or "").rpartition(" (")[0]: title.text or "" for title in titles}
        entries = json.loads(Path(f"{jail}.json").read_text("utf-8", "surrogateescape"))["entries"]
        total = sum(entry.get("size", 0) for entry in entries if not entry.get("hard_link"))
        assert f"({total:,} bytes, 100.00%)" in said["/"]
        if which == "odd" and not words:
            for name in NAMES:
                assert notation(name, ODD) in said, name
