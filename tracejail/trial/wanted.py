"""What a thread is about to look up, guessed from its stack: the name is an argument of some function that it is in."""

from __future__ import annotations

import re
import struct
from collections.abc import Set

from tracejail.kernel.memory import read_memory

_DEPTH = 32768        # bytes: from the loader's open(2) up to the caller of getpwnam(3) there are about 6000
_STEP = 4096
_LONGEST_NAME = 256   # LOGIN_NAME_MAX
_WORD = re.compile(rb"[^\0]+")


def names_near(thread: int, architecture: str, known: Set[bytes]) -> set[bytes]:
    """Those of the known names that lie on the stack of a stopped thread, or that something there points to."""
    try:
        with open(f"/proc/{thread}/syscall", encoding="ascii") as stream:
            pointer = int(stream.read().split()[-2], 16)
    except (OSError, ValueError, IndexError):
        return set()
    stack = b""
    while len(stack) < _DEPTH:
        piece = read_memory(thread, pointer + len(stack), _STEP)
        stack += piece
        if len(piece) < _STEP:
            break
    found = set(known) & set(_WORD.findall(stack))
    width, letter = (4, "I") if architecture == "i386" else (8, "Q")
    words = struct.unpack(f"={len(stack) // width}{letter}", stack[: len(stack) // width * width])
    for address in set(words):
        if _STEP <= address < 1 << 47:
            found |= set(known & {read_memory(thread, address, _LONGEST_NAME).partition(b"\0")[0]})
    return found
