"""The use case `why`: who needed a path, hop by hop."""

from __future__ import annotations

from tracejail.errors import UsageError
from tracejail.model import Because, Entry, EntryType, Manifest, Origin

_MOST_HOPS = 64


def why(manifest: Manifest, path: str) -> list[str]:
    """The reasons, the path's own first. Raises UsageError if the manifest knows nothing of it."""
    entries: dict[str, Entry] = {entry.path: entry for entry in manifest.entries}
    path = "/" + path.strip("/")
    entry = entries.get(path)
    if entry is None:
        return _not_an_entry(manifest, path)
    lines = []
    seen: set[str] = set()
    while entry is not None and entry.path not in seen and len(seen) < _MOST_HOPS:
        seen.add(entry.path)
        lines.append(f"{entry.path}: {reason(entry)}")
        entry = entries.get(entry.via)
    first = entries[path]
    if first.origin is Origin.PARENT:
        below = [other.path for other in manifest.entries if other.path.startswith(path + "/")]
        if below:
            more = f" and {len(below) - 1} more" if len(below) > 1 else ""
            lines.append(f"{below[0]}{more}: in it")
    for place in manifest.written:
        if place.path == path:
            what = "names in it come and go" if place.type is EntryType.DIRECTORY else "its bytes change"
            lines.append(f"{path}: written to ({place.use.value}): {what}")
    if first.package:
        lines.append(f"{path}: of package {first.package} {first.version}".rstrip())
    if first.hosts:
        lines.append(f"{path}: only {', '.join(first.hosts)} had it; in the jail where this host has it too")
    return lines


def asked_for(because: Because | None) -> str:
    """Who asked, in words."""
    return f"{because.program} asked for {because.spelled} by {because.syscall}" if because else "the run itself"


def reason(entry: Entry) -> str:
    """Why an entry is in the jail, in words; not what brought that again."""
    asked = asked_for(entry.because)
    if entry.phase != "start" and entry.because:
        asked += f", first at the {entry.phase}"
    match entry.origin:
        case Origin.ARGV:
            return "named on the command line"
        case Origin.SERVICE:
            return "a directory that the service manager makes before each start"
        case Origin.BASE:
            return "every jail has it"
        case Origin.INCLUDE:
            return "asked for with --include"
        case Origin.PARENT:
            return f"a directory on the way: {asked}"
        case Origin.SYMLINK:
            return f"a symbolic link to {entry.target} on the way: {asked}"
        case Origin.LISTING:
            return f"seen in a listing of its directory and used: {asked}"
        case Origin.ELF_INTERPRETER:
            return f"the loader that {entry.via} names (PT_INTERP)"
        case Origin.SCRIPT_INTERPRETER:
            return f"the interpreter that {entry.via} names (#!)"
        case Origin.ELF_NEEDED:
            return f"a library that {entry.via} needs"
        case Origin.MISS:
            led = f", which led there through {entry.via}" if entry.via else ""
            return asked + led


def _not_an_entry(manifest: Manifest, path: str) -> list[str]:
    for notes, words in (
        (manifest.denied, "denied by the policy"),
        (manifest.absent, "not on the host either"),
        (manifest.sockets, "a socket that must be bound into the jail"),
    ):
        for note in notes:
            if note.path == path:
                return [f"{path}: not in the jail, {words} ({note.reason}): {asked_for(note.because)}"]
    raise UsageError(f"{path}: this manifest knows nothing of it", "tracejail list MANIFEST shows what it holds")
