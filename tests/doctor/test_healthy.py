"""Where nothing is wrong nothing is found; and where a program dies of itself, no cause is invented."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.jails import digest, empty_jail, put, script
from tests.tool import tracejail

sys.path.insert(0, str(Path(__file__).parent.parent / "real"))

from private_host import PrivateHost
from real import Site
from servers import data, login, mail, names, system, web
from servers.row import Row

_PYTHON, _PERL, _SH = "/usr/bin/python3", "/usr/bin/perl", "/bin/sh"
_GIT = "git init -q /tmp/r; cd /tmp/r; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; git log -1"
_TELLS = "chmod -v 0644 /etc/passwd; install -v -d /tmp/a/b; stat /etc/passwd; echo the hosts, the passwd and the limits"
_POOL = "import multiprocessing; print(multiprocessing.Pool(2).map(abs, [1, 2]))"
_KEY = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "/tmp/k", "-out", "/tmp/c")
_DIGEST = ("dgst", "-provider", "legacy", "-provider", "default", "-md4", "/etc/passwd")

# The words before "::" are options. As few as possible that are alike: what they read, start, make and become differs.
PROGRAMS: tuple[tuple[str, ...], ...] = (
    ("/bin/ls", "-l", "/"),
    ("/bin/cat", "/etc/os-release"),
    (_SH, "-c", "echo hi > /tmp/x; cat /tmp/x"),
    ("/bin/bash", "-c", "type ls; for i in 1 2 3; do echo $i; done"),
    ("/usr/bin/id", "daemon"),
    ("/usr/bin/getent", "passwd", "root"),
    (_PERL, "-MPOSIX", "-MSocket", "-e", "print strftime('%Y', localtime)"),
    (_PYTHON, "-c", "import json, ssl, sqlite3, zoneinfo; print(len(ssl.create_default_context().get_ca_certs()))"),
    ("/usr/bin/openssl", "version", "-a"),
    ("/usr/bin/curl", "--version"),
    ("/usr/bin/git", "--version"),
    ("/usr/bin/awk", "BEGIN { print 7 }"),
    ("/usr/bin/find", "/etc", "-maxdepth", "1"),
    ("/bin/date",),
    # Users, and who has become one.
    ("-u", "nobody", "::", "/usr/bin/id"),
    ("-u", "daemon", "::", _SH, "-c", "id -un; pwd; echo hi > /tmp/x"),
    ("/usr/bin/setpriv", "--reuid", "1", "--clear-groups", "/usr/bin/id"),
    ("/usr/sbin/chroot", "--userspec=1:1", "/", "/usr/bin/id"),
    # Locales, time zones, conversions.
    ("-E", "LC_ALL=C.UTF-8", "::", "/usr/bin/sort", "/etc/group"),
    ("-E", "TZ=Europe/Paris", "::", "/usr/bin/date"),
    ("-E", "TZ=Asia/Tokyo", "::", _PERL, "-e", "print scalar localtime"),
    ("/usr/bin/iconv", "-f", "utf-8", "-t", "iso-8859-15", "/etc/hostname"),
    ("/usr/bin/locale", "-a"),
    # What the kernel shows.
    ("--mount", "proc", "::", "/bin/ps", "ax"),
    ("--mount", "proc", "::", "/usr/bin/free"),
    ("--mount", "proc", "--mount", "sys", "::", "/usr/bin/lscpu"),
    ("/usr/bin/df", "-h"),
    ("/usr/bin/getconf", "-a"),
    ("/usr/sbin/ip", "address"),
    ("/bin/ss", "-tan"),
    ("/usr/sbin/ldconfig", "-p"),
    ("/usr/bin/uname", "-a"),
    # Texts and archives.
    ("/usr/bin/wc", "-l", "/etc/services"),
    ("/bin/grep", "-c", "root", "/etc/passwd"),
    ("/bin/sed", "-n", "1p", "/etc/passwd"),
    ("/usr/bin/gawk", 'BEGIN { while ((getline line < "/etc/passwd") > 0) n++; print n, strftime("%Y") }'),
    ("/bin/tar", "-czf", "/tmp/a.tgz", "/etc/apt"),
    ("/usr/bin/sha256sum", "/etc/passwd"),
    ("/usr/bin/du", "-s", "/etc/apt"),
    ("/usr/bin/file", "/bin/ls"),
    ("/usr/bin/find", "/usr/share/zoneinfo", "-maxdepth", "2", "-name", "P*"),
    ("/usr/bin/rsync", "-a", "/etc/apt", "/tmp/"),
    ("--expect", "1", "::", "/usr/bin/cmp", "/etc/passwd", "/etc/group"),
    # Names.
    ("/usr/bin/getent", "ahosts", "localhost"),
    ("/usr/bin/getent", "services", "ssh"),
    ("/usr/bin/getent", "protocols", "tcp"),
    ("/usr/bin/logger", "-s", "hi"),
    # Keys.
    ("/usr/bin/openssl", *_KEY),
    ("/usr/bin/openssl", *_DIGEST),
    ("/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/tmp/key"),
    ("/usr/bin/ssh", "-G", "localhost"),
    # Languages, with what they load by name.
    ("/usr/bin/sqlite3", ":memory:", "select sqlite_version()"),
    ("/usr/bin/php", "-r", "echo mb_strtoupper('x'), date('Y');"),
    ("/usr/bin/node", "-e", "console.log(new Intl.NumberFormat('de').format(1e6))"),
    ("/usr/bin/java", "-version"),
    (_PERL, "-MIO::Socket::INET", "-MFile::Temp", "-MStorable", "-e", "fork; wait; print File::Temp->new"),
    (_PYTHON, "-c", _POOL),
    (_PYTHON, "-c", "import subprocess; print(subprocess.run(['/bin/id'], capture_output=True))"),
    (_PYTHON, "-c", "import pty; pty.spawn(['/bin/echo', 'hi'])"),
    (_PYTHON, "-c", "import mimetypes, socket; print(mimetypes.guess_type('a.docx'), socket.getservbyname('http'))"),
    # What a careless rule takes for a cause: a directory that is made when it is missed, names in what is said, another way
    # after an exec that failed, a text without "#!".
    (_SH, "-c", _GIT),
    (_SH, "-c", _TELLS),
    ("/bin/busybox", "sh", "-c", "busybox id -u; busybox seq 3 | busybox tac"),
    (_PERL, "-e", "exec '/usr/bin/none' or exec '/bin/echo', 'hi'"),
    (_PERL, "-e", "system('/usr/bin/none'); system('none -x'); print 'the block is stat of comm'"),
    (_SH, "-c", "echo echo hi > /tmp/x; chmod 755 /tmp/x; /tmp/x; env /tmp/x"),
    ("/usr/sbin/nginx", "-t"),
)


def _named(words: tuple[str, ...]) -> str:
    options, command = _parted(words)
    return " ".join((*options, os.path.basename(command[0]), *command[1:]))[:40]


def _parted(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    at = words.index("::") if "::" in words else -1
    return words[: max(at, 0)], words[at + 1 :]


def _causes(said: dict[str, Any]) -> list[dict[str, Any]]:
    """What is possible and quiet is a note, of what a mount would show or a log daemon would hear."""
    return [each for each in said["findings"] if each["confidence"] != "possible" or not each["quiet"]]


def _mounts(manifest: Path) -> list[str]:
    """The options for what is mounted in a jail that was learned: its start line says so too."""
    kinds = {"/proc": "proc", "/sys": "sys", "/dev/pts": "devpts"}
    return [word for mount in json.loads(manifest.read_text())["mounts"] for word in ("--mount", kinds[mount["path"]])]


@pytest.mark.parametrize("words", PROGRAMS, ids=_named)
def test_a_learned_jail_is_healthy(words: tuple[str, ...]) -> None:
    options, command = _parted(words)
    with empty_jail() as jail:
        manifest = jail.parent / "jail.json"
        jail.rmdir()
        learned = tracejail("learn", "-j", jail, "-m", manifest, *options, *command, cwd=Path("/"))
        assert learned.status == 0, learned.out + learned.err
        before = digest(jail)
        for static in ((), ("--static",)):
            more = (*_mounts(manifest), *options)
            done = tracejail("doctor", "-j", jail, "--json", *static, *more, *command, cwd=Path("/"))
            assert _causes(done.json) == []
            assert done.status == 0
        assert digest(jail) == before


# With what a server complains of where it lacks it: what is so is no false cause.
_ALSO = {
    "rsyslog": ("--mount", "proc"),
    "sshd": ("--mount", "proc", "--mount", "devpts"),
    "postfix": ("--allow", "/usr/sbin/postqueue", "--allow", "/usr/sbin/postdrop"),
}
SERVERS = (
    *web.ROWS[:4], *(row for row in data.ROWS if row.name != "postgresql"), *names.ROWS, *system.ROWS, *login.ROWS, *mail.ROWS,
)


@pytest.mark.parametrize("row", SERVERS, ids=lambda row: row.name)
def test_the_learned_jail_of_a_server_is_healthy(row: Row) -> None:
    host = PrivateHost()
    try:
        with empty_jail() as jail:
            site = Site(jail.parent)
            site.fresh(None)
            jail.rmdir()
            for script_of in (row.runtime, row.prepare):
                host.shell(script_of.replace("{T}", str(site.files)))
            site.write("client", row.client.replace("{T}", str(site.files)))
            site.write("expected", row.expected.replace("{T}", str(site.files)))
            at = site.files
            exercise = f"sh {at}/client >{at}/said 2>&1; cmp {at}/said {at}/expected || {{ cat {at}/said; exit 1; }}"
            words = ["-j", str(jail), *_ALSO.get(row.name, ()), "--stop", row.stop, *(["-u", row.user] if row.user else [])]
            words += [*row.options, "--exercise", exercise, *row.command]
            learned = host.tracejail("learn", "--json", *words)
            assert learned.returncode == 0, learned.stdout + learned.stderr
            before = digest(jail)
            mounted = [] if "--mount" in words else _mounts(Path(f"{jail}.json"))
            for static in ([], ["--static"]):
                done = host.tracejail("doctor", "--json", *static, *mounted, *words)
                said = json.loads(done.stdout)
                assert _causes(said) == [], said
                assert done.returncode == 0, said
            assert digest(jail) == before
    finally:
        host.end()


DEATHS = {
    "a status": "exit 3",
    "an abort": "kill -ABRT $$",
    "a segmentation fault": "kill -SEGV $$",
    "its own message": "echo sorry, I do not feel well >&2; exit 1",
    "a failed test": "test 1 = 2",
    "a syntax error": "if then",
    "a variable that is not set": "set -u; echo $nothing",
    "a division": "echo $((1 / 0))",
    "what is on no host": "read line < /no/such/file/anywhere",
    "a wrong option": "set --no-such-option",
}


@pytest.mark.parametrize("name", DEATHS)
def test_no_cause_is_invented(name: str) -> None:
    with empty_jail() as jail:
        put(jail, "/bin/dash")
        done = tracejail("doctor", "-j", jail, "--json", "/bin/dash", "-c", DEATHS[name], cwd=Path("/"))
        assert done.json["findings"] == []
        assert done.status == 3
        told = tracejail("doctor", "-j", jail, "/bin/dash", "-c", DEATHS[name], cwd=Path("/"))
        assert "no cause is known" in told.out


def test_a_locale_that_is_lacking_is_no_cause() -> None:
    with empty_jail() as jail:
        put(jail, "/bin/cat")
        words = ("--json", "-E", "LC_ALL=C.UTF-8", "/bin/cat", "/no/such/file/anywhere")
        done = tracejail("doctor", "-j", jail, *words, cwd=Path("/"))
        assert done.json["findings"] == []
        assert done.status == 3


def test_names_of_the_target_are_escaped() -> None:
    with empty_jail() as jail:
        put(jail, "/bin/dash")
        script(jail, "/start.sh", "#!/bin/dash\necho '\033[31mred' >&2\n'/bin/\033[2Jx'\n")
        told = tracejail("doctor", "-j", jail, "-v", "/start.sh", cwd=Path("/"))
        assert "\033" not in told.out


@pytest.mark.parametrize("words", ([], ["-j", "/nonexistent", "/bin/ls"], ["-j", "/tmp"], ["-j", "/tmp", "--frobnicate", "x"]))
def test_wrong_words(words: list[str]) -> None:
    done = tracejail("doctor", *words)
    assert done.status == 2
    assert len(done.err.strip().splitlines()) == 2
