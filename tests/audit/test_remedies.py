"""What audit tells to be done does no harm: not to the host's files, nor to the program, nor by an intruder's hand."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from tests.audit.jails import DAEMON, audit, causes, directory, fresh, place, static_program, with_manifest, write
from tests.audit.planted import PLANTS
from tracejail.audit import cure
from tracejail.audit.facts import Facts, Grant, Item, Mounted
from tracejail.model import EntryType


def _remedy(document: dict[str, Any], rule: str, path: str) -> list[str]:
    (found,) = [each["remedy"] for each in document["findings"] if (each["rule"], each["path"]) == (rule, path)]
    assert isinstance(found, list)
    return found


def test_what_is_mounted_is_not_touched() -> None:
    with place() as top:
        directory("/host", 0o755)(fresh(top))
        (top / "own").mkdir()
        write(top / "own", "/server", static_program(), 0o4777, DAEMON)
        write(top / "own", "/passwd", "root::0:0::/:/bin/sh\n")
        directory("/.git", 0o777)(top / "own")
        said = audit(top, "--json", shell="mount --bind /mnt/own {J}/host;").json
        beneath = [each for each in said["findings"] if each["path"].startswith("/host/")]
        assert len(beneath) >= 6
        for each in beneath:
            assert all(line.startswith(("# it is the host's own", "mount ")) for line in each["remedy"]), each
        assert _remedy(said, "bind-mount", "/host")[-1] == "umount /mnt/jail/host"


def _facts(*items: Item, mounts: tuple[Mounted, ...] = ()) -> Facts:
    return Facts("/j", items, mounts=mounts)


def test_a_mount_beneath_goes_first() -> None:
    items = Item("/a", EntryType.DIRECTORY, 0o755, 0, 0), Item("/a/b", EntryType.DIRECTORY, 0o755, 0, 0)
    facts = _facts(*items, mounts=(Mounted("/", "ext4", frozenset()), Mounted("/a/b", "ext4", frozenset(), shared=True)))
    assert cure.remove(facts, "/a") == ("umount /j/a/b && rm -rf --one-file-system -- /j/a",)
    assert cure.remove(facts, "/a/b") == ("umount /j/a/b",)


def test_another_name_outside_is_not_changed() -> None:
    with place() as top:
        jail = fresh(top)
        write(jail, "/bin/server", static_program(), 0o4757, DAEMON)
        os.link(jail / "bin/server", top / "outside")
        said = audit(top, "--json").json
        for rule in ("setuid", "world-writable-file", "writable-code"):
            assert _remedy(said, rule, "/bin/server")[0].startswith("# it has another name outside of the jail"), rule


def test_a_hard_link_is_broken_without_a_name_that_was_there() -> None:
    with place() as top:
        jail = fresh(top)
        write(jail, "/etc/shared", "of both\n")
        os.link(jail / "etc/shared", top / "outside")
        os.link(jail / "etc/shared", jail / "srv/too")
        write(top, "/victim", "mine\n")
        for name in ("shared.new", "x.new"):
            (jail / "etc" / name).symlink_to(top / "victim")
        (command,) = _remedy(audit(top, "--json").json, "hard-link-out", "/etc/shared")
        subprocess.run(["bash", "-ec", command.replace("/mnt/", f"{top}/")], check=True)
        assert (top / "victim").read_text() == "mine\n"
        assert (top / "outside").stat().st_nlink == 1
        assert (jail / "etc/shared").stat().st_ino == (jail / "srv/too").stat().st_ino
        assert sorted(os.listdir(jail / "etc")) == ["shared", "shared.new", "x.new"]
        (jail / "srv").chmod(0o777)
        os.link(jail / "srv/too", top / "again")
        (command,) = _remedy(audit(top, "--json").json, "hard-link-out", "/etc/shared")
        assert command.startswith("# stop the program first")


def test_what_was_not_looked_at_is_never_removed() -> None:
    (deep,) = [plant for plant in PLANTS if plant.name == "a tree too deep to look into"]
    with place() as top:
        jail = fresh(top)
        deep.build(jail)
        write(jail, "/etc/shared", "of both\n")
        os.link(jail / "etc/shared", top / "outside")
        said = audit(top, "--json").json
        found = [each for each in said["findings"] if each["rule"] == "not-looked-at"]
        assert [each["severity"] for each in found] == ["high"]
        assert "it is too deep" in found[0]["message"]
        assert all(line.startswith("#") for line in found[0]["remedy"])
        assert [each["message"] for each in said["findings"] if each["rule"] == "hard-link-out"][0].endswith(
            "outside of the jail, or where it was not looked"
        )


def test_the_program_can_still_read_it() -> None:
    with place() as top:
        jail = fresh(top)
        write(jail, "/etc/a.conf", "x", 0o640, DAEMON, DAEMON)
        write(jail, "/etc/b.conf", "x", 0o664, 0, DAEMON)
        write(jail, "/etc/c.conf", "x", 0o600, DAEMON, DAEMON)
        with_manifest(jail, ())
        said = audit(top, "--json").json
        assert _remedy(said, "writable-configuration", "/etc/a.conf") == ["chown -h root -- /mnt/jail/etc/a.conf"]
        assert _remedy(said, "writable-configuration", "/etc/b.conf") == ["chmod g-w -- /mnt/jail/etc/b.conf"]
        assert _remedy(said, "writable-configuration", "/etc/c.conf")[1].startswith("# only its owner could read it")
    item = Item("/a", EntryType.FILE, 0o644, 0, 0, grants=(Grant(user=33), Grant(group=7)))
    assert cure.taken(_facts(item), item) == ("setfacl -x u:33,g:7 -- /j/a",)


def test_a_place_that_is_mounted_on_itself_is_the_jails_own() -> None:
    with place() as top:
        jail = fresh(top)
        with_manifest(jail, ("/var/lib/app",))
        (remedy,) = _remedy(audit(top, "--json").json, "written-executable", "/var/lib/app")
        assert causes(audit(top, "--json", shell=f"{remedy};").json) == set()


def test_a_written_place_is_never_made_read_only() -> None:
    with place() as top:
        jail = fresh(top)
        with_manifest(jail, ("/var/lib/app",))
        (top / "data").mkdir()
        said = audit(top, "--json", shell="mount --bind /mnt/data {J}/var/lib/app;").json
        assert _remedy(said, "bind-mount", "/var/lib/app") == ["umount /mnt/jail/var/lib/app"]
        assert not any(",ro " in line for each in said["findings"] for line in each["remedy"])


def test_what_the_manifest_needs() -> None:
    with place() as top:
        jail = fresh(top)
        write(jail, "/etc/ssl/private/site.key", "x" * 80, 0o640, 0, DAEMON)
        directory("/srv/up", 0o777)(jail)
        directory("/tmp", 0o1777)(jail)
        with_manifest(jail, ())
        said = audit(top, "--json").json
        assert all(line.startswith("#") for line in _remedy(said, "private-key", "/etc/ssl/private/site.key"))
        assert _remedy(said, "world-writable-directory", "/srv/up") == ["chmod +t -- /mnt/jail/srv/up"]
        assert _remedy(said, "world-writable-directory", "/tmp")[0].startswith("#")


def test_stop_it_first_where_it_can_meddle() -> None:
    with place() as top:
        jail = fresh(top)
        directory("/srv/up", 0o755, DAEMON)(jail)
        write(jail, "/srv/up/motd", "x", 0o666)
        with_manifest(jail, ())
        said = audit(top, "--json").json
        assert _remedy(said, "world-writable-file", "/srv/up/motd") == [cure.STOP, "chmod o-w -- /mnt/jail/srv/up/motd"]
        directory("/srv/up/data", 0o755, DAEMON)(jail)
        with_manifest(jail, ("/srv/up/data",))
        assert _remedy(audit(top, "--json").json, "written-executable", "/srv/up/data")[0] == cure.STOP
