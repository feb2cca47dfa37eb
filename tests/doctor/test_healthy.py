"""Where nothing is wrong nothing is found; and where a program dies of itself, no cause is invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doctor.jails import digest, empty_jail, put, script
from tests.tool import tracejail

PROGRAMS = (
    ("/bin/ls", "-l", "/"),
    ("/bin/cat", "/etc/os-release"),
    ("/bin/sh", "-c", "echo hi > /tmp/x; cat /tmp/x"),
    ("/bin/bash", "-c", "type ls; for i in 1 2 3; do echo $i; done"),
    ("/usr/bin/id", "daemon"),
    ("/usr/bin/getent", "passwd", "root"),
    ("/usr/bin/perl", "-MPOSIX", "-MSocket", "-e", "print strftime('%Y', localtime)"),
    ("/usr/bin/python3", "-c", "import json, ssl, sqlite3, zoneinfo; print(len(ssl.create_default_context().get_ca_certs()))"),
    ("/usr/bin/openssl", "version", "-a"),
    ("/usr/bin/curl", "--version"),
    ("/usr/bin/git", "--version"),
    ("/usr/bin/awk", "BEGIN { print 7 }"),
    ("/usr/bin/find", "/etc", "-maxdepth", "1"),
    ("/bin/date",),
)


@pytest.mark.parametrize("command", PROGRAMS, ids=lambda command: command[0].rpartition("/")[2])
def test_a_learned_jail_is_healthy(command: tuple[str, ...]) -> None:
    with empty_jail() as jail:
        manifest = jail.parent / "jail.json"
        jail.rmdir()
        learned = tracejail("learn", "-j", jail, "-m", manifest, *command, cwd=Path("/"))
        assert learned.status == 0, learned.out + learned.err
        before = digest(jail)
        for static in ((), ("--static",)):
            done = tracejail("doctor", "-j", jail, "--json", *static, *command, cwd=Path("/"))
            # What is possible and quiet is a note, of what a mount would show or a log daemon would hear.
            causes = [each for each in done.json["findings"] if each["confidence"] != "possible" or not each["quiet"]]
            assert causes == []
            assert done.status == 0
        assert digest(jail) == before


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
