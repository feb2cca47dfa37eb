"""What an executed file names itself: the loader of an ELF file, the "#!" of a script."""

from __future__ import annotations

import os

from tracejail.jail import tree as jail_tree
from tracejail.model import Because, EntryType, JailPath, MissKind, Origin
from tracejail.resolve.elf import program_interpreter
from tracejail.resolve.host import inspect, may_read, open_source
from tracejail.resolve.scripts import interpreter_line

from .supply import Supply
from .walk import Place

_INTERPRETERS = 5  # nested "#!" that the kernel follows (fs/exec.c, bprm depth)


def interpreters(supply: Supply, program: str, root: str, base: str, because: Because | None, bring: bool) -> bool:
    """The interpreter of the executed file at the real path `program`, and the interpreter's own, and so on;
    with `bring` one missing level is brought. Whether anything was."""
    for _ in range(_INTERPRETERS + 1):
        interpreter, origin = _interpreter_of(supply, program)
        if not interpreter:
            return False
        found = supply.resolve(root, base, interpreter, follow=True)
        if found.place is not Place.FOUND:
            return False
        if not found.trial or any(hop.missing for hop in found.hops):
            if not bring or supply.refusal(found):
                return False
            brought = supply.bring(found)
            supply.note(found, origin, because, MissKind.INTERPRETER, via=program)
            return brought
        if bring:
            supply.fill(found.path)
        supply.note(found, origin, because, MissKind.INTERPRETER, via=program)
        program = found.path
    return False


def _interpreter_of(supply: Supply, program: str) -> tuple[str, Origin]:
    if supply.on_paper:
        node = inspect(supply.host, JailPath(program))
        readable = node is not None and node.type is EntryType.FILE and may_read(supply.host, node.path)
        fd = open_source(supply.host, JailPath(program)) if readable else None
    else:
        if supply.watch:
            supply.watch.release(program)
        fd = jail_tree.open_file(supply.tree, program)
    if fd is None:
        return "", Origin.MISS
    try:
        script = interpreter_line(os.pread(fd, 256, 0))
        if script:
            return script, Origin.SCRIPT_INTERPRETER
        return program_interpreter(fd) or "", Origin.ELF_INTERPRETER
    finally:
        os.close(fd)
