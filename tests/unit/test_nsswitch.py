"""nsswitch.conf: reduced to what the jail has modules for, with the same meaning; and the bells of a run."""

from __future__ import annotations

import pytest

from tracejail.resolve.nsswitch import modules_in, reduce_nsswitch, rung, with_bells

SYSTEMD = frozenset((b"systemd",))


def test_the_modules_of_a_jail() -> None:
    paths = ("/lib/x/libnss_systemd.so.2", "/lib/x/libnss_mdns4_minimal.so.2", "/lib/libnss3.so", "/etc/libnss_x.so.2.bak")
    assert modules_in(paths) == {b"systemd", b"mdns4_minimal"}


@pytest.mark.parametrize(
    ("line", "reduced"),
    [
        ("passwd:         files systemd", "passwd:         files"),
        ("passwd: compat", "passwd: files"),
        ("netgroup: nis", "netgroup: files"),
        ("protocols: db files", "protocols: files"),
        ("hosts: files mdns4_minimal [NOTFOUND=return] dns", "hosts: files dns"),
        ("hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns", "hosts: files dns"),
        ("hosts: files [NOTFOUND=return] nis", "hosts: files [NOTFOUND=return]"),
        ("passwd: ldap [UNAVAIL=return] files", "passwd: files"),
        ("hosts: files nis [ ! success = return ] dns", "hosts: files"),
        ("hosts: files nis [unavail=return UNAVAIL=continue] dns", "hosts: files dns"),
        ("group: files[SUCCESS=merge]systemd", "group: files [SUCCESS=merge]"),
        ("  group: files sss # and LDAP's", "  group: files # and LDAP's"),
        # What needs no change keeps its spelling; others' lines are theirs.
        ("shadow:\tfiles   dns", "shadow:\tfiles   dns"),
        ("sudoers: files sss", "sudoers: files sss"),
        ("passwd_compat: nis", "passwd_compat: nis"),
        ("# passwd: nis", "# passwd: nis"),
        ("passwd:", "passwd:"),
        ("", ""),
    ],
)
def test_reduced(line: str, reduced: str) -> None:
    assert reduce_nsswitch(line.encode(), ()) == reduced.encode()


def test_a_module_of_the_jail_stays_with_its_actions() -> None:
    text = b"passwd: files systemd\nhosts: files resolve [!UNAVAIL=return] dns nis\n"
    assert reduce_nsswitch(text, {b"systemd", b"resolve"}) == text.replace(b" nis", b"")
    assert reduce_nsswitch(text[:-1], SYSTEMD) == b"passwd: files systemd\nhosts: files dns"


def test_bells() -> None:
    text = b"passwd: files systemd # users\ngroup: files [SUCCESS=merge] systemd [NOTFOUND=return]\nhosts: dns"
    assert with_bells(text) == (
        b"passwd: files systemd [SUCCESS=return !SUCCESS=continue] /tracejail/passwd # users\n"
        b"group: files [SUCCESS=merge] systemd [NOTFOUND=return SUCCESS=return !SUCCESS=continue] /tracejail/group\n"
        b"hosts: dns\n"
        b"initgroups: files [SUCCESS=merge SUCCESS=continue] systemd [NOTFOUND=return SUCCESS=continue]\n"
    )
    assert b"initgroups: files [SUCCESS=continue]\n" in with_bells(b"")
    assert with_bells(b"initgroups: files\n").count(b"initgroups") == 1


def test_what_a_bell_sounds_like() -> None:
    assert rung("libnss_/tracejail/passwd.so.2") == "passwd"
    assert rung("/lib/libnss_/tracejail/passwd.so.2") == rung("libnss_systemd.so.2") == ""
