"""Jails that were made without the tool: taken over from a list or from the directory, then checked and completed."""

from __future__ import annotations

import json
import os
from pathlib import Path

from real import Site, call, checked, learn, tracejail

_SAYS = "import ssl, zoneinfo; print(zoneinfo.ZoneInfo('Europe/Berlin').key)"
_PYTHON = ("/usr/bin/python3", "-c", _SAYS)


def _done(*words: str) -> str:
    done = tracejail(*words)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_a_list_that_lacks_something_is_completed(site: Site) -> None:
    """The classical start: what ldd(1) says, copied; the program's own files are missing."""
    words = checked("ldd", "/usr/bin/python3").split()
    listed = "\n".join(["/usr/bin/python3", *(word for word in words if word.startswith("/"))])
    path = site.top / "list"
    path.write_text(listed + "\n/nowhere\n")
    jail, manifest = str(site.jail), f"{site.jail}.json"
    said = _done("import", "-j", jail, "list", str(path), *_PYTHON)
    assert "/nowhere: on the list, and not on the host" in said and "nothing of it is proven" in said
    _done("build", manifest)
    assert call(["chroot", jail, *_PYTHON]).returncode != 0
    lacks = tracejail("verify", manifest)
    assert lacks.returncode == 1 and "/usr/bin/python3.1" in lacks.stdout  # the link was on the list, and not what it leads to
    _done("learn", "--append", "-j", jail, *_PYTHON)
    assert checked("chroot", jail, *_PYTHON) == "Europe/Berlin\n"
    text = Path(manifest).read_text()
    assert json.loads(text)["clean"] and "first guess" not in text


def test_what_was_exported_comes_back(site: Site) -> None:
    learn(site, *_PYTHON)
    for form in ("list", "mtree"):
        file, again = site.top / form, site.top / f"{form}.json"
        _done("export", form, f"{site.jail}.json", "-o", str(file))
        _done("import", "-j", f"{site.top}/again", "-m", str(again), form, str(file), *_PYTHON)
        assert _done("diff", f"{site.jail}.json", str(again)) == ""


def test_a_section_of_jailkits_own_file(site: Site) -> None:
    jail = str(site.jail)
    _done("import", "-j", jail, "--name", "perl", "jailkit", "/etc/jailkit/jk_init.ini", "/usr/bin/perl", "-e", "print 7")
    _done("build", f"{jail}.json")
    assert checked("chroot", jail, "/usr/bin/perl", "-e", "print 7") == "7"


def test_a_package(site: Site) -> None:
    _done("import", "-j", str(site.jail), "dpkg", "/var/lib/dpkg/info/gawk.list", "/usr/bin/gawk", "BEGIN { print 7 }")
    paths = {entry["path"] for entry in json.loads(Path(f"{site.jail}.json").read_text())["entries"]}
    listed = set(Path("/var/lib/dpkg/info/gawk.list").read_text().split("\n")) - {"/.", ""}
    assert {path for path in listed if os.path.lexists(path)} <= paths
    _done("learn", "--append", "-j", str(site.jail), "/usr/bin/gawk", "BEGIN { print 7 }")
    assert checked("chroot", site.jail, "/usr/bin/gawk", "BEGIN { print 7 }") == "7\n"


def test_a_jail_that_is_there_is_adopted(site: Site) -> None:
    learn(site, *_PYTHON)
    hand = site.top / "hand"
    checked("cp", "-a", site.jail, hand)
    assert _done("adopt", str(hand), *_PYTHON).count("note:") == 0
    assert _done("diff", f"{site.jail}.json", f"{hand}.json") == ""
    # As it is in the field: an account by hand, a file that the host does not have, a secret, a file that one may become.
    with (hand / "etc" / "passwd").open("a") as stream:
        stream.write("www:x:77:77::/:/bin/false\n")
    (hand / "srv").mkdir()
    (hand / "srv" / "own").write_text("own\n")
    (hand / "etc" / "shadow").write_text("root:*:1::::::\n")
    checked("cp", "-a", "/etc/gshadow", hand / "etc" / "gshadow")
    checked("cp", "-a", "/usr/bin/passwd", hand / "usr" / "bin" / "passwd")
    said = _done("adopt", "--replace", str(hand), *_PYTHON)
    assert "/etc/passwd, /srv/own: not as the host has it" in said and "/etc/shadow: the policy keeps out" in said
    _done("verify", f"{hand}.json")
    new = site.top / "new"
    _done("build", f"{hand}.json", "-j", str(new))
    assert not {new / "srv" / "own", new / "etc" / "shadow", new / "etc" / "gshadow"} & set(new.rglob("*"))
    assert (new / "usr" / "bin" / "passwd").stat().st_mode & 0o6000 == 0
    held = json.loads(Path(f"{hand}.json").read_text())
    assert {note["path"] for note in held["denied"]} == {"/etc/shadow", "/etc/gshadow"}


def test_what_is_in_a_jail_stays_there(site: Site) -> None:
    """learn --append keeps what it did not build: logs, a site, a data base; what was changed by hand it does not touch."""
    site.write("config", "one\n")
    program = ["/bin/sh", "-c", f"cat {site.files}/config; echo line >>{site.files}/log"]
    jail, manifest = site.jail, f"{site.jail}.json"
    learn(site, "--include", f"{site.files}/config", *program)
    files = Path(f"{jail}{site.files}")
    (files / "log").write_text("of the running jail\n")
    (jail / "srv" / "deep").mkdir(parents=True)
    (jail / "srv" / "deep" / "page").write_text("page\n")
    os.chown(jail / "srv" / "deep" / "page", 33, 33)
    done = tracejail("learn", "--append", "-j", str(jail), *program, "again")
    assert done.returncode == 0 and "and kept: " in done.stderr + done.stdout, done.stdout + done.stderr
    assert (files / "log").read_text() == "of the running jail\n"
    assert (jail / "srv" / "deep" / "page").stat().st_uid == 33
    # The host's has changed, and the jail's was changed by hand: whose it is to be is nobody's to guess.
    site.write("config", "two\n")
    (files / "config").write_text("by hand\n")
    before = Path(manifest).read_text()
    done = tracejail("learn", "--append", "-j", str(jail), *program, "again")
    assert done.returncode in (2, 5) and len(done.stderr.splitlines()) == 2, done.stderr
    assert (files / "config").read_text() == "by hand\n" and Path(manifest).read_text() == before


def test_what_is_not_to_be_adopted(site: Site) -> None:
    for words in (["/", "/bin/sh"], ["/nowhere", "/bin/sh"], [str(site.top), "/bin/sh"]):
        done = tracejail("adopt", "-m", str(site.top / "m.json"), *words)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 2, done.stderr
    assert not (site.top / "m.json").exists()
