"""The look-up through two trees, on trees that are dictionaries."""

from __future__ import annotations

from tracejail.model import EntryType
from tracejail.trial.walk import Found, Place, Walk, walk

DIRECTORY, FILE, LINK = EntryType.DIRECTORY, EntryType.FILE, EntryType.SYMLINK
HOST = {
    "/etc": Found(DIRECTORY),
    "/etc/conf": Found(FILE),
    "/etc/link": Found(LINK, "../usr/share/real"),
    "/etc/absolute": Found(LINK, "/usr/share/real"),
    "/etc/loop": Found(LINK, "loop"),
    "/etc/dangling": Found(LINK, "nowhere"),
    "/usr": Found(DIRECTORY),
    "/usr/share": Found(DIRECTORY),
    "/usr/share/real": Found(FILE),
    "/usr/share/up": Found(FILE),
    "/lib": Found(LINK, "usr/share"),
    "/jail": Found(DIRECTORY),
    "/jail/usr": Found(DIRECTORY),
    "/jail/usr/share": Found(DIRECTORY),
    "/jail/usr/share/real": Found(FILE),
    "/jail/escape": Found(LINK, "/../../usr/share/real"),
    "/dev": Found(DIRECTORY),
    "/dev/null": Found(EntryType.CHARACTER),
}


def look(spelled: str, trial: dict[str, Found] | None = None, root: str = "/", base: str = "/", follow: bool = True,
         create: bool = False) -> Walk:
    return walk(root, base, spelled, follow, create, (trial or {}).get, HOST.get)


def hops(found: Walk) -> list[str]:
    return [("+" if hop.missing else "=") + hop.path for hop in found.hops]


def test_each_missing_component_is_a_hop() -> None:
    found = look("/etc/conf", {"/etc": Found(DIRECTORY)})
    assert (found.place, found.path, hops(found)) == (Place.FOUND, "/etc/conf", ["=/etc", "+/etc/conf"])


def test_each_link_on_the_way_is_a_hop() -> None:
    found = look("/etc/link")
    assert hops(found) == ["+/etc", "+/etc/link", "+/usr", "+/usr/share", "+/usr/share/real"]
    assert found.hops[-1].via == "/etc/link" and found.hops[-1].last


def test_a_link_is_not_followed_where_it_is_wanted_itself() -> None:
    assert look("/etc/link", follow=False).path == "/etc/link"


def test_a_trailing_slash_follows() -> None:
    assert look("/lib/", follow=False).path == "/usr/share"


def test_dot_dot_is_of_where_the_link_leads() -> None:
    assert look("/lib/../share/up").path == "/usr/share/up"


def test_relative_paths_start_at_the_base() -> None:
    assert look("../etc/./conf", base="/usr").path == "/etc/conf"
    assert look("conf", base="").place is Place.ABSENT


def test_a_root_is_not_left() -> None:
    found = look("/../../usr/share/real", root="/jail")
    assert found.path == "/jail/usr/share/real"
    assert look("/escape", root="/jail").path == "/jail/usr/share/real"


def test_what_neither_tree_has_is_absent() -> None:
    for spelled in ("/etc/none", "/none/conf", "/etc/dangling"):
        assert look(spelled).place is Place.ABSENT, spelled


def test_what_the_host_refuses_by_what_is_on_the_way() -> None:
    assert look("/etc/conf/below").place is Place.FAILS
    assert hops(look("/etc/conf/")) == ["+/etc", "+/etc/conf"]
    assert look("/etc/loop").place is Place.FAILS
    assert hops(look("/etc/loop")) == ["+/etc", "+/etc/loop"]


def test_the_trial_is_asked_before_the_host() -> None:
    trial = {"/etc": Found(DIRECTORY), "/etc/conf": Found(LINK, "own"), "/etc/own": Found(FILE)}
    assert hops(look("/etc/conf", trial)) == ["=/etc", "=/etc/conf", "=/etc/own"]


def test_a_name_to_make_is_free_whatever_file_the_host_has() -> None:
    assert look("/etc/conf", create=True).place is Place.FREE
    assert hops(look("/etc/new", create=True)) == ["+/etc"]
    assert look("/none/new", create=True).place is Place.ABSENT


def test_a_device_and_a_followed_link_are_not_free() -> None:
    assert look("/dev/null", create=True).place is Place.FOUND
    assert look("/etc/link", create=True).path == "/usr/share/real"
    assert look("/etc/link", create=True, follow=False).place is Place.FREE


def test_another_mount_ends_the_walk() -> None:
    found = look("/proc/self/exe", {"/proc": Found(DIRECTORY, foreign=True)})
    assert (found.place, found.hops) == (Place.FOUND, ())
