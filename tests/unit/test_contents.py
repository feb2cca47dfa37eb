"""Digests and hard links of a manifest: right, and no byte is read twice for them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from nouns import directory, entry, link, manifest

from tracejail import assemble, contents
from tracejail.assemble import Keep, Shape
from tracejail.contents import contents_of, with_digests, with_hard_links
from tracejail.errors import InputOutputError
from tracejail.model import Accounts, Command, Content, Entry, EntryType
from tracejail.resolve.host import HostRoot, open_host_root
from tracejail.resolve.loader import CacheLibrary, read_cache, write_cache
from tracejail.trial.ledger import Ledger
from tracejail.trial.outcome import Outcome

NOBODY = Accounts()


@pytest.fixture()
def host(tmp_path: Path) -> HostRoot:
    return open_host_root(str(tmp_path))


@pytest.fixture()
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each digest was made of."""
    seen: list[int] = []
    digest = contents._digest

    def count(source: int | bytes) -> tuple[str, int]:
        done = digest(source)
        seen.append(done[1])
        return done

    monkeypatch.setattr(contents, "_digest", count)
    return seen


def of(path: Path, name: str, **fields: object) -> Entry:
    """The entry of a file of the host, without its digest."""
    status = path.stat()
    return entry(name, **{"sha256": "", "size": status.st_size, "mtime_ns": status.st_mtime_ns, **fields})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_known_digest_stays(tmp_path: Path, host: HostRoot, hashed: list[int]) -> None:
    (tmp_path / "a").write_bytes(b"one")
    known = of(tmp_path / "a", "/a", sha256="c" * 64)
    assert with_digests(host, [known], NOBODY) == [known] and hashed == []


@pytest.mark.parametrize("data", [b"two and more", b"two"])
def test_of_a_changed_file_it_is_made_again(tmp_path: Path, host: HostRoot, hashed: list[int], data: bytes) -> None:
    (tmp_path / "a").write_bytes(b"one")
    known = of(tmp_path / "a", "/a", sha256=sha256(b"one"))
    (tmp_path / "a").write_bytes(data)
    os.utime(tmp_path / "a", ns=(1, 1))
    done = with_digests(host, [known], NOBODY)
    assert done == [replace(known, sha256=sha256(data), size=len(data), mtime_ns=1)] and hashed == [len(data)]


def test_the_names_of_an_inode_are_read_once(tmp_path: Path, host: HostRoot, hashed: list[int]) -> None:
    (tmp_path / "b").write_bytes(b"twin")
    for name in ("a", "c", "d"):
        os.link(tmp_path / "b", tmp_path / name)
    asked = [of(tmp_path / name, f"/{name}") for name in "cab"] + [of(tmp_path / "d", "/d", sha256="0" * 64)]
    done = with_digests(host, asked, NOBODY)
    assert [(one.path, one.hard_link) for one in done] == [("/a", ""), ("/b", "/a"), ("/c", "/a"), ("/d", "/a")]
    assert {(one.sha256, one.size) for one in done} == {(sha256(b"twin"), 4)} and hashed == [4]


def test_a_former_first_name_that_is_none_now(tmp_path: Path, host: HostRoot) -> None:
    (tmp_path / "a").write_bytes(b"alone")
    known = of(tmp_path / "a", "/a", hard_link="/gone")
    assert [one.hard_link for one in with_hard_links(host, [known, directory("/")])] == ["", ""]


def test_what_is_made_is_hashed_as_made(tmp_path: Path, host: HostRoot) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nme:x:1:1::/:/bin/sh\n")
    made = entry("/etc/passwd", content=Content.ACCOUNTS, sha256="0" * 64, size=0)
    text = b"me:x:1:1::/:/bin/sh\n"
    assert with_digests(host, [made], Accounts(users=("me",))) == [replace(made, sha256=sha256(text), size=len(text))]
    empty = entry("/none", content=Content.EMPTY, sha256="", size=0)
    assert with_digests(host, [empty], NOBODY)[0].sha256 == sha256(b"")


def test_the_cache_has_the_libraries_of_the_jail(tmp_path: Path, host: HostRoot) -> None:
    paths = ("/lib/libin.so.1", "/lib/liblinked.so.1", "/lib/libgone.so.1", "/opt/libin.so.1", "/lib/dir.so.1", "/lib/lost.so.1")
    (tmp_path / "etc").mkdir()
    rows = [CacheLibrary(os.path.basename(path), path, 0x303) for path in paths]
    (tmp_path / "etc/ld.so.cache").write_bytes(write_cache(rows))
    entries = [
        link("/lib", "usr/lib"), directory("/usr"), directory("/usr/lib"), directory("/usr/lib/dir.so.1"),
        entry("/usr/lib/libin.so.1"), link("/usr/lib/liblinked.so.1", "libin.so.1"), link("/usr/lib/lost.so.1", "none"),
    ]
    made = contents_of(host, entries, NOBODY)(entry("/etc/ld.so.cache", content=Content.LD_CACHE))
    assert isinstance(made, bytes)
    assert sorted(row.path for row in read_cache(made)) == ["/lib/libin.so.1", "/lib/liblinked.so.1"]


def test_a_second_manifest_of_a_run_reads_nothing_again(tmp_path: Path, host: HostRoot, hashed: list[int]) -> None:
    (tmp_path / "srv/deep").mkdir(parents=True)
    (tmp_path / "srv/deep/looked-at").write_bytes(b"text")
    ledger = Ledger()
    for one in (of(tmp_path / "srv/deep/looked-at", "/srv/deep/looked-at"), entry("/made/by/it", type=EntryType.FIFO)):
        ledger.entries[one.path] = one
    shape = Shape(Command(("/bin/x",)), "/jail", (), Keep.USED, frozenset(), frozenset())
    first = assemble.assemble(host, ledger, Outcome(), shape, [])
    assert hashed == [4]
    assert assemble.assemble(host, ledger, Outcome(), shape, []) == first and hashed == [4]
    assert [one.path for one in first.entries] == ["/made/by/it", "/srv", "/srv/deep", "/srv/deep/looked-at"]
    assert first.entries[-1] == ledger.entries["/srv/deep/looked-at"] and first.entries[-1].sha256 == sha256(b"text")
    assert manifest(*first.entries).entries == first.entries


def test_what_is_made_of_accounts(tmp_path: Path, host: HostRoot) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nsswitch.conf").write_text("passwd: files systemd sss\n")
    (tmp_path / "etc/shadow").write_text("root:$6$a$b:1::::::\nme:$6$c$d:2::::::\nyou:$6$e$f:3::::::\n")
    settings, shadow = entry("/etc/nsswitch.conf", content=Content.NSSWITCH), entry("/etc/shadow", content=Content.ACCOUNTS)
    module, listed = entry("/lib/libnss_systemd.so.2"), entry("/lib/libnss_sss.so.2", content=Content.EMPTY)
    kept = Accounts(users=("me", "root"), passwords=("me",))
    give = contents_of(host, [settings, shadow, module, listed], kept)
    assert give(settings) == b"passwd: files systemd\n"
    assert give(shadow) == b"root:*:1::::::\nme:$6$c$d:2::::::\n"
    with pytest.raises(InputOutputError):
        give(entry("/etc/fstab", content=Content.ACCOUNTS))
