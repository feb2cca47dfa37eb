"""passwd and group: what is kept, and that no hash comes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracejail.model import Accounts
from tracejail.resolve.accounts import accounts_for, find_user, reduce_group, reduce_passwd
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
