"""`#!` lines: each row is what load_script of fs/binfmt_script.c makes of it."""

from __future__ import annotations

import pytest

from tracejail.resolve.scripts import interpreter_argument, interpreter_line

ROWS = [
    (b"#!/bin/sh\n", "/bin/sh", ""),
    (b"#!/bin/sh", "/bin/sh", ""),
    (b"#! \t/bin/sh  -e  -x \t\nrest", "/bin/sh", "-e  -x"),
    (b"#!bin/sh\n", "bin/sh", ""),
    (b"#!/bin/sh\r\n", "/bin/sh\r", ""),
    (b"#!/bin/sh\0tail\n", "/bin/sh", ""),
    (b"#!/usr/bin/env\tpython3\n", "/usr/bin/env", "python3"),
    (b"#!" + b" " * 20 + b"/" + b"a" * 300 + b"\n", None, ""),
    (b"#!/" + b"a" * 300 + b" x\n", None, ""),
    (b"#!/bin/sh " + b"b" * 400, "/bin/sh", "b" * 245),
    (b"#!/bin/sh" + b" " * 400, "/bin/sh", ""),
    (b"#!/" + b"a" * 252 + b" x", "/" + "a" * 252, ""),
    (b"#!" + b" " * 400, None, ""),
    (b"#!  \n/bin/sh\n", None, ""),
    (b"#!\n", None, ""),
    (b"", None, ""),
    (b"#", None, ""),
    (b" #!/bin/sh\n", None, ""),
    (b"\x7fELF", None, ""),
    (b"#!/opt/\xff\n", "/opt/\udcff", ""),
]


@pytest.mark.parametrize(("start", "interpreter", "argument"), ROWS)
def test_line(start: bytes, interpreter: str | None, argument: str) -> None:
    assert interpreter_line(start) == interpreter
    assert interpreter_argument(start) == argument
