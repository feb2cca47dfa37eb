"""What is in a jail and no more on the host: whether that is meant, or the host's tree is not all there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

from tracejail.drift.nouns import Drift, Kind
from tracejail.model import Entry, EntryType, Origin
from tracejail.needs import Needs
from tracejail.resolve.host import GoneError
from tracejail.resolve.packages import Owner

_SHARE = 3   # more than one of so many entries gone is no upgrade of a package


def check_there(before: Mapping[str, Entry], gone: Collection[str]) -> None:
    """Raises GoneError where the program or its loader is gone, or so much that the host's tree can't be the one that was
    learned from."""
    for path in gone:
        if before[path].origin is Origin.ARGV and before[path].type is not EntryType.DIRECTORY:
            raise GoneError(f"{path}: the program itself is gone from the host; all is left as it was", "learn it again")
    if len(gone) * _SHARE > len(before):
        cause = f"{min(gone)} and {len(gone) - 1} more of {len(before)} entries are gone from the host; all is left as it was"
        raise GoneError(cause, "is the host's tree mounted? --from names another; else learn it again")


def staying(
    before: Mapping[str, Entry], gone: Collection[str], asked: Needs, packages: Mapping[str, Owner], force: bool
) -> Iterator[Drift]:
    """A row for each entry that stays though the host has it no more: it is needed still, or nothing says that it is meant
    to be gone, as a package that no longer lists it does. `force` takes the latter for meant, too.

    Raises GoneError: it is the loader that is gone."""
    loader = next((row for row in asked.rows if gone and not row.found and row.how == "elf-interpreter"), None)
    if loader is not None:
        cause = f"{loader.path}: the loader of {loader.needed_by} is gone from the host; all is left as it was"
        raise GoneError(cause, "is the host's tree mounted? --from names another; else learn it again")
    missed = {os.path.basename(row.path): row for row in asked.rows if not row.found}
    wanted = {row.path for row in asked.rows}
    # What needs what can't be read any more of a library that is gone itself.
    blind = next((path for path in gone if os.path.basename(path) in missed), "")
    goes: set[str] = set()
    links = []
    for path in gone:
        entry = before[path]
        row = missed.get(os.path.basename(path))
        if row is not None:
            yield _kept(entry, f"kept, as {row.needed_by} needs it still")
        elif blind and ".so" in os.path.basename(path):
            yield _kept(entry, f"kept, as {blind} may need it, which is gone too")
        elif force or _is_meant(entry, packages) or (entry.origin is Origin.ELF_NEEDED and path not in wanted):
            goes.add(path)
        elif entry.type is EntryType.SYMLINK:
            links.append(entry)
        else:
            yield _kept(entry, _LISTED if packages.get(path) else _NOBODYS)
    for entry in links:
        # A link of no package, as ldconfig and the alternatives make them, goes with what it led to.
        if packages.get(entry.path) or os.path.normpath(os.path.join(os.path.dirname(entry.path), entry.target)) not in goes:
            yield _kept(entry, _LISTED if packages.get(entry.path) else _NOBODYS)


_LISTED = "its package has it still: kept, until it is there again or --force takes it out"
_NOBODYS = "no package says that it is to be gone: kept, until it is there again or --force takes it out"


def _is_meant(entry: Entry, packages: Mapping[str, Owner]) -> bool:
    """Whether the package of an entry has dropped it. A directory of no package goes with what was in it."""
    if packages.get(entry.path, ("", ""))[0]:
        return False
    return bool(entry.package and packages) or (entry.type is EntryType.DIRECTORY and not entry.package)


def _kept(entry: Entry, words: str) -> Drift:
    return Drift(entry.path, Kind.HOST_GONE, words, entry.package, entry.version)
