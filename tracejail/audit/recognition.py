"""Which tool a file is, by what its bytes hold: a new name does not hide it."""

from __future__ import annotations

from .table import APPLETS, TOOLS, Family, Tool

_MARKED = tuple(tool for tool in TOOLS if tool.marks)
# A library is as good as a program for whoever can call a loader; of those shells alone are looked for, as they are many.
_IN_LIBRARIES = tuple(tool for tool in _MARKED if tool.family in (Family.SHELL, Family.MULTI_CALL))

_FIRST_APPLETS = b"\0[\0[[\0"   # they are sorted
_APPLETS = 1 << 14              # bytes that their names may take


def by_bytes(data: bytes, library: bool = False) -> tuple[Tool, ...]:
    """By marks. A shell of unknown make is one that is no other shell, and a multi-call binary is that alone.

    All of a file is looked at, and not what its headers say to be constants: it is a program by what the kernel makes of it.
    """
    held: dict[bytes, bool] = {}   # many rows have their first mark in common

    def holds(mark: bytes) -> bool:
        if mark not in held:
            held[mark] = mark in data
        return held[mark]

    found = [tool for tool in (_IN_LIBRARIES if library else _MARKED) if all(map(holds, tool.marks))]
    multi = [tool for tool in found if tool.family is Family.MULTI_CALL]
    if multi:
        return tuple(multi)
    named = [tool for tool in found if tool.names or tool.family is not Family.SHELL]
    shells = [tool for tool in named if tool.family is Family.SHELL]
    return tuple(named if shells else found)


def applets_in(data: bytes) -> tuple[str, ...]:
    """The names in a multi-call binary that are those of tools: they stand between NUL bytes there."""
    at = data.find(_FIRST_APPLETS)
    names = set(data[at : at + _APPLETS].split(b"\0") if at >= 0 else data.split(b"\0"))
    return tuple(name for _, words in APPLETS for name in words.split() if name.encode() in names)
