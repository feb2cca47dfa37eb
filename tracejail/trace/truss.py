"""A finished call as the line that truss(1) would print: pure."""

from __future__ import annotations

import errno
import os

from tracejail.model import NEVER, SyscallRecord

from .table import OPENS, ROWS, Decode

_FLAGS = {
    os.O_CREAT: "O_CREAT", os.O_EXCL: "O_EXCL", os.O_NOCTTY: "O_NOCTTY", os.O_TRUNC: "O_TRUNC",
    os.O_APPEND: "O_APPEND", os.O_NONBLOCK: "O_NONBLOCK", os.O_DIRECTORY: "O_DIRECTORY", os.O_NOFOLLOW: "O_NOFOLLOW",
    os.O_CLOEXEC: "O_CLOEXEC", os.O_PATH: "O_PATH", os.O_NOATIME: "O_NOATIME",
}
_ACCESS = {os.O_RDONLY: "O_RDONLY", os.O_WRONLY: "O_WRONLY", os.O_RDWR: "O_RDWR"}
_LISTINGS = frozenset(row.name for row in ROWS if row.decode is Decode.LISTING)
_COLUMN = 50


def flag_words(flags: int) -> str:
    """Open flags by name, as `O_RDWR|O_CREAT`."""
    words = [_ACCESS.get(flags & os.O_ACCMODE, "O_RDONLY")]
    words += [name for bit, name in _FLAGS.items() if flags & bit]
    return "|".join(words)


def line(record: SyscallRecord, errors_only: bool = True) -> str | None:
    """The line of a call; None for one that succeeded where only errors are asked for, and for listings."""
    if record.syscall in _LISTINGS or (errors_only and record.result >= 0):
        return None
    return told(record)


def told(record: SyscallRecord) -> str:
    """The same of any call."""
    paths = ", ".join(quoted(argument.spelled) for argument in record.arguments) or record.address
    flags = f", {flag_words(record.flags)}" if record.syscall in OPENS else ""
    call = f"{record.syscall}({paths}{flags})"
    if record.result < 0:
        name = errno.errorcode.get(-record.result, "?")
        never = record.result == NEVER
        return f"{call:<{_COLUMN}} (never returned)" if never else f"{call:<{_COLUMN}} Err#{-record.result} {name}"
    return f"{call:<{_COLUMN}} = {record.result}"


def quoted(text: str) -> str:
    """A path in double quotes, with what a terminal must not see as \\xNN."""
    shown = []
    for byte in os.fsencode(text):
        if byte in (0x22, 0x5C):
            shown.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7F:
            shown.append(chr(byte))
        else:
            shown.append(f"\\x{byte:02x}")
    return '"' + "".join(shown) + '"'
