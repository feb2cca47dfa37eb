"""What a run asked for, in the order of first asking: the entries of its manifest, and what did not become one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tracejail.model import Because, Entry, Miss, MissKind, Origin, PathNote

from .walk import Walk


@dataclass(slots=True)
class Ledger:
    """Filled during one run. The first who asks for a path is the one that the manifest names."""

    entries: dict[str, Entry] = field(default_factory=dict)
    absent: dict[str, PathNote] = field(default_factory=dict)
    denied: dict[str, PathNote] = field(default_factory=dict)     # by policy
    refused: dict[str, PathNote] = field(default_factory=dict)    # EACCES or EPERM from the kernel
    virtual: dict[str, PathNote] = field(default_factory=dict)    # reason: the mount type that would have it
    sockets: dict[str, PathNote] = field(default_factory=dict)    # of other programs
    missing: dict[str, PathNote] = field(default_factory=dict)    # the host could satisfy it and this run did not
    unknown: set[tuple[str, str]] = field(default_factory=set)    # program, database: it looked up an account in vain
    wanted: set[tuple[str, str]] = field(default_factory=set)     # database, name: which it may have been
    pending: list[tuple[Miss, Walk]] = field(default_factory=list)  # behind `missing`, to be brought after the run
    phase: str = "start"                                          # of the run, as trial.phases names it
    lines: dict[str, None] = field(default_factory=dict)          # every miss, as `kind syscall path`, once

    def note(
        self, supplied: Entry, origin: Origin, because: Because | None, kind: MissKind | None, via: str = ""
    ) -> None:
        """An entry that is in the tree was asked for; the first origin stays."""
        if supplied.path in self.entries:
            return
        if because is not None and kind is MissKind.CREATE:
            # The name that is to be made may be random; the directory that must be there is not.
            directory = because.spelled.rstrip("/").rpartition("/")[0] or "/"
            because = replace(because, spelled=directory)
        self.entries[supplied.path] = replace(supplied, origin=origin, because=because, kind=kind, via=via, phase=self.phase)

    def line(self, miss: Miss) -> str:
        """Remember a miss; gives its line."""
        text = f"{miss.kind.value} {miss.because.syscall} {miss.because.spelled}"
        self.lines[text] = None
        return text
