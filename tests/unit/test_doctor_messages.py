"""What programs say, and what it may mean."""

from __future__ import annotations

import pytest

from tracejail.doctor.messages import ROWS, explain

SAID = {
    "ls: error while loading shared libraries: libselinux.so.1: cannot open shared object file: No such file": "libselinux.so.1",
    "chroot: failed to run command '/bin/ls': No such file or directory": "PT_INTERP",
    "chroot: failed to run command '/bin/ls': Permission denied": "x bit",
    "whoami: cannot find name for user ID 0": "/etc/passwd",
    "curl: (6) Could not resolve host: example.org": "resolv.conf",
    "curl: (77) error setting certificate file: /etc/ssl/certs/ca-certificates.crt": "authorities",
    "perl: warning: Setting locale failed.": "locale",
    "sh: 1: cannot create /dev/null: Permission denied": "device",
    "touch: cannot touch 'x': Read-only file system": "read-only",
    "bind: Permission denied": "port",
    "sh: 3: frobnicate: not found": "frobnicate is in no directory",
    "./prog: /lib/libc.so.6: version `GLIBC_2.38' not found (required by ./prog)": "GLIBC_2.38",
    "PTY allocation request failed on channel 0": "devpts",
}


@pytest.mark.parametrize("line", SAID)
def test_a_message_is_known(line: str) -> None:
    found = list(explain(f"something else\n{line}\n"))
    assert len(found) == 1
    assert SAID[line] in found[0].means
    assert found[0].line == line


def test_what_says_nothing_is_not_explained() -> None:
    assert list(explain("hello\nall is well\n")) == []


def test_each_meaning_once() -> None:
    assert len(list(explain("a: not found\n" * 50))) == 1
    assert len(list(explain("\n".join(f"prog{number}: not found" for number in range(100))))) <= 20


def test_rows_name_what_decides() -> None:
    assert all(means and decides for _, means, decides in ROWS)
