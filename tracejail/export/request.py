"""What an exporter is given, and what it gives: pieces of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tracejail.errors import ExportError
from tracejail.model import Entry, EntryType, Manifest

# The bytes of a regular file in pieces. Raises InputOutputError where they are not what the manifest says.
Contents = Callable[[Entry], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What the package data base of the host says of a package, in its own words."""

    form: str                 # the type of a package URL: deb, apk
    architecture: str = ""
    licences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Distribution:
    """Who makes the packages of the host, by os-release(5)."""

    vendor: str               # ID
    release: str              # VERSION_ID, or the code name where there is none


# What is asked only by formats that say it: None where the host is not at hand, or no longer the one of the manifest.
Facts = Callable[[str, str], PackageFacts | None]   # of a package's name and version


@dataclass(frozen=True, slots=True)
class Request:
    """A manifest to be said in a format."""

    manifest: Manifest
    contents: Contents
    epoch: int                # seconds; the time of all that has none in the manifest, and the latest (SOURCE_DATE_EPOCH)
    name: str = ""            # what the result is called: of a unit, an image; "" for that of the program
    jail: str = ""            # the directory that the jail is in when the result is used
    packages: bool = False    # packages in place of files, where a format can say either
    facts: Facts = lambda _name, _version: None
    distribution: Callable[[], Distribution | None] = lambda: None

    @property
    def title(self) -> str:
        """What the result is called."""
        return self.name or "".join(self.manifest.command.argv[:1]).rpartition("/")[2] or "jail"


Make = Callable[[Request], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what it is, the command that takes it, and the function that makes it. That raises ExportError for what the
    format can't say, before it gives the first piece."""

    about: str
    takes: str                # a command line; FILE is the result
    make: Make
    holds: bool = False       # the files' bytes are in it


def parents_first(manifest: Manifest) -> list[Entry]:
    """All entries, each after its directory; a directory's own lie together."""
    return sorted(manifest.entries, key=lambda entry: entry.path.split("/"))


def archived(manifest: Manifest, form: str) -> list[Entry]:
    """All entries as an archive has them: each after its directory, a hard link after the file's first name."""
    for entry in manifest.entries:
        if entry.type is EntryType.SOCKET:
            raise ExportError(f"{entry.path}: {form} holds no sockets", "learn it again with --exclude, and bind it instead")
    return sorted(manifest.entries, key=lambda entry: (bool(entry.hard_link), entry.path.split("/")))


def seconds_of(entry: Entry, request: Request) -> int:
    """An entry's time of last change in seconds, not after SOURCE_DATE_EPOCH."""
    if entry.type is EntryType.FILE and entry.mtime_ns:
        return max(0, min(entry.mtime_ns // 10**9, request.epoch))
    return request.epoch
