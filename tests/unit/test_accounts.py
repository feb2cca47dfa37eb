"""passwd and group: what is kept, and that no hash comes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracejail.model import Accounts
from tracejail.resolve.accounts import (
    REDUCE,
    SHADOWS,
    accounts_for,
    find_user,
    reduce_group,
    reduce_gshadow,
    reduce_passwd,
    reduce_shadow,
    reduce_subid,
)
from tracejail.resolve.host import HostRoot, open_host_root

PASSWD = b"""\
# comment:x:1:1:::
root:$6$salt$hash:0:0:root:/root:/bin/bash
daemon:*:1:1::/:/bin/false
broken line
www:x:33:33:www:/srv:/bin/false
huge:x:""" + b"9" * 5000 + b""":1::/:
odd:x:50:""" + b"9" * 5000 + b"""::/:
+nisuser::::::
-other:x:5:5:::
\xff\xfe:x:77:33::/:
"""
GROUP = b"""\
root:x:0:
daemon:x:1:
www:oldhash:33:
certs:x:40:www,daemon
audio:x:41:daemon
+::0:
"""


@pytest.fixture()
def host(tmp_path: Path) -> HostRoot:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(PASSWD)
    (tmp_path / "etc/group").write_bytes(GROUP)
    return open_host_root(str(tmp_path))


def test_by_id_with_their_groups(host: HostRoot) -> None:
    assert accounts_for(host, {0, 33}, {0}, ()) == Accounts(False, ("root", "www"), ("certs", "root", "www"))


def test_by_name(host: HostRoot) -> None:
    assert accounts_for(host, (), (), {"daemon", "nobody"}) == Accounts(False, ("daemon",), ("audio", "certs", "daemon"))
    assert accounts_for(host, (), (), {"audio"}) == Accounts(False, (), ("audio",))


def test_names_of_any_bytes(host: HostRoot) -> None:
    assert accounts_for(host, {77}, (), ()).users == ("\udcff\udcfe",)
    assert find_user(host, "\udcff\udcfe") == (77, 33, (33,))


def test_find_user(host: HostRoot) -> None:
    assert find_user(host, "www") == (33, 33, (33, 40))
    for name in ("nobody", "+nisuser", "huge", "odd", "broken line"):
        assert find_user(host, name) is None


def test_no_hash_is_kept() -> None:
    kept = Accounts(False, ("www", "root"), ("www", "certs"))
    assert reduce_passwd(PASSWD, kept) == b"root:x:0:0:root:/root:/bin/bash\nwww:x:33:33:www:/srv:/bin/false\n"
    assert reduce_group(GROUP, kept) == b"www:x:33:\ncerts:x:40:www\n"


def test_nothing_there(tmp_path: Path) -> None:
    assert accounts_for(open_host_root(str(tmp_path)), {0}, {0}, {"root"}) == Accounts()


def test_lines_as_the_c_library_takes_them(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    # A carriage return ends no line, blanks before a name do not count, missing fields are empty, the last line may be open.
    text = b"root:x:0:0:root:/root:/bin/sh\n  app:x:50:50\nodd:x:51:51:one\rtoor::0:0::/:/bin/sh\nlast:x:52:52:::"
    (tmp_path / "etc/passwd").write_bytes(text)
    (tmp_path / "etc/group").write_bytes(b"app:x:50\nmany:x:60:app,last\nother:x:50:last")
    host = open_host_root(str(tmp_path))
    kept = accounts_for(host, {0, 50, 51}, (), ())
    assert kept == Accounts(False, ("app", "odd", "root"), ("app", "many"))
    assert reduce_passwd(text, kept) == text.replace(b"  app", b"app").rpartition(b"\n")[0] + b"\n"
    assert reduce_group((tmp_path / "etc/group").read_bytes(), kept) == b"app:x:50:\nmany:x:60:app\n"
    assert find_user(host, "last") == (52, 52, (50, 52, 60))


def test_of_some_with_the_same_id_the_first(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    text = b"toor:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\nadmin:x:0:0::/:/bin/sh\nme:x:7:7::/:/bin/sh\n"
    (tmp_path / "etc/passwd").write_bytes(text)
    (tmp_path / "etc/group").write_bytes(b"root:x:0:\nwheel:x:0:\nbackup:x:0:me\n")
    host = open_host_root(str(tmp_path))
    assert accounts_for(host, {0}, {0}, ()) == Accounts(False, ("toor",), ("root",))
    kept = accounts_for(host, {0}, {0}, {"admin", "wheel"})
    assert kept == Accounts(False, ("admin", "toor"), ("root", "wheel"))
    assert reduce_passwd(text, kept) == b"toor:x:0:0::/:/bin/sh\nadmin:x:0:0::/:/bin/sh\n"
    assert accounts_for(host, {7}, (), ()).groups == ("backup",)


def test_passwords_of_those_alone_who_log_in(host: HostRoot) -> None:
    kept = accounts_for(host, {0, 33}, (), {"daemon"}, become={33, 5}, asked={"daemon", "nobody"})
    assert kept.users == ("daemon", "root", "www") and kept.passwords == ("daemon", "www")
    shadow = b"root:$6$r$root:1:0:99999:7:::\ndaemon:!$6$d$d:2::::::\nother:$6$o$o:3::::::\nwww:$6$w$w:4:0:9:7:::\n+::::::::\n"
    assert reduce_shadow(shadow, kept) == b"root:*:1:0:99999:7:::\ndaemon:!$6$d$d:2::::::\nwww:$6$w$w:4:0:9:7:::\n"
    gshadow = b"root:*::\nwww:$6$g$g:other,www:daemon,other\nstaff:!::www\n"
    assert reduce_gshadow(gshadow, kept) == b"root:*::\nwww:*:www:daemon\n"
    assert reduce_subid(b"other:1:65536\nwww:100000:65536\n1000:5:6\n", kept) == b"www:100000:65536\n"


def test_an_empty_password_is_none_of_the_jail() -> None:
    assert reduce_shadow(b"www::4:0:9:7:::\n", Accounts(False, ("www",))) == b"www:*:4:0:9:7:::\n"


def test_each_file_of_accounts_has_its_way() -> None:
    assert {"passwd", "group-", "shadow", "gshadow-", "subuid", "subgid"} <= set(REDUCE) and set(SHADOWS) <= set(REDUCE)
