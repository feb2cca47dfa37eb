"""The options --no-new-privs, --landlock-access and --landlock-rule of setpriv(1), util-linux 2.40, by the kernel's calls."""

import ctypes
import os
import struct
import sys

_CREATE, _ADD, _RESTRICT = 444, 445, 446      # landlock_create_ruleset(2) and kin
_NO_NEW_PRIVS, _PATH_BENEATH = 38, 1
# In the order of the bits of linux/landlock.h.
_NAMES = (
    "execute", "write-file", "read-file", "read-dir", "remove-dir", "remove-file", "make-char", "make-dir", "make-reg",
    "make-sock", "make-fifo", "make-block", "make-sym", "refer", "truncate",
)
_libc = ctypes.CDLL(None, use_errno=True)


def _call(*words: object) -> int:
    result = _libc.syscall(*words)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{words}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def main() -> None:
    words = sys.argv[1:]
    handled, rules = 0, []
    while (word := words.pop(0)) != "--":
        if word == "--landlock-access":
            assert words.pop(0) == "fs"
            handled = (1 << len(_NAMES)) - 1
        elif word == "--landlock-rule":
            kind, access, path = words.pop(0).split(":", 2)
            assert kind == "path-beneath"
            rules.append((sum(1 << _NAMES.index(name) for name in access.split(",")), path))
        else:
            assert word == "--no-new-privs"
    attribute = struct.pack("=Q", handled)
    ruleset = _call(_CREATE, attribute, len(attribute), 0)
    for access, path in rules:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        _call(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
        os.close(descriptor)
    assert _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    _call(_RESTRICT, ruleset, 0)
    os.execv(words[0], words)


main()
