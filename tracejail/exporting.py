"""The use case `export`: a manifest in another tool's words, with the files' bytes where the format holds them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from tracejail.contents import contents_of
from tracejail.errors import InputOutputError, UsageError
from tracejail.export.request import Distribution, Format, PackageFacts, Request
from tracejail.foreign import settled
from tracejail.jail.build import Contents
from tracejail.model import Content, Entry, EntryType, Manifest
from tracejail.resolve.host import open_host_root, open_source
from tracejail.resolve.package_facts import PackageBase, os_release

_CHUNK = 1 << 20      # bytes


def export(
    manifest: Manifest, form: Format, environment: Mapping[str, str], jail: str, host_root: str, name: str, packages: bool,
    note: Callable[[str], None],
) -> Iterator[bytes]:
    """The pieces of the result. The files are those of the jail, or, where there is none or `host_root` is given, those that
    a jail would be built from. What must be left out of a merged manifest is said by `note`.

    Raises ExportError before the first piece; InputOutputError for a file that is gone or changed; UsageError.
    """
    at = jail or manifest.jail
    if jail and not os.path.isdir(jail):
        raise UsageError(f"{jail}: no such directory", "name a jail that was built from this manifest, or none")
    # What another host's run asked for is not in a jail that was built before the merge.
    elsewhere = not jail and any(entry.hosts for entry in manifest.entries)
    if host_root or elsewhere or not os.path.isdir(at):
        root = open_host_root(host_root or manifest.host.root)
        manifest, notes = settled(root, manifest)
        give = contents_of(root, manifest.entries, manifest.accounts)
    else:
        root = open_host_root(at)
        manifest, notes = settled(root, manifest)
        give = lambda entry: open_source(root, entry.path)  # noqa: E731
    for line in notes:
        note(line)
    manifest = replace(manifest, entries=tuple(_with_size(give, entry) for entry in manifest.entries))
    epoch = _epoch(environment, manifest)
    asked = HostPackages(manifest, host_root or manifest.host.root)
    request = Request(
        manifest, lambda entry: _pieces(give, entry), epoch, name, os.path.abspath(at), packages, asked.facts,
        asked.distribution,
    )
    return iter(form.make(request))


def _with_size(give: Contents, entry: Entry) -> Entry:
    """An archive has a file's size before its bytes: of what is made anew since a merge, it is not in the manifest."""
    if entry.type is not EntryType.FILE or entry.content in (Content.HOST, Content.EMPTY) or entry.sha256 or entry.hard_link:
        return entry
    try:
        source = give(entry)
    except InputOutputError:
        return entry  # who needs the bytes will hear of it
    if isinstance(source, bytes):
        return replace(entry, size=len(source))
    try:
        return replace(entry, size=os.fstat(source).st_size)
    finally:
        os.close(source)


class HostPackages:
    """The host of a manifest, to be asked for its packages; opened when it first is. Another system than the manifest's, as
    where that came from another machine, has nothing to say of it."""

    def __init__(self, manifest: Manifest, root: str) -> None:
        self._told, self._path = manifest.host.distribution, root

    @cached_property
    def _base(self) -> PackageBase | None:
        try:
            root = open_host_root(self._path)
        except UsageError:
            return None
        return PackageBase(root) if os_release(root).get("PRETTY_NAME", "") == self._told else None

    def facts(self, name: str, version: str) -> PackageFacts | None:
        """What it says of a package, if it is of this version."""
        found = self._base.find(name, version) if self._base else None
        return PackageFacts(found.form, found.architecture, found.licences or ()) if found else None

    def distribution(self) -> Distribution | None:
        """Who makes its packages."""
        release = os_release(self._base.host) if self._base else {}
        known = release.get("VERSION_ID") or release.get("VERSION_CODENAME", "")
        return Distribution(release["ID"], known) if release.get("ID") else None


def _pieces(give: Contents, entry: Entry) -> Iterator[bytes]:
    source = give(entry)
    digest, size = hashlib.sha256(), 0
    try:
        while chunk := os.read(source, _CHUNK) if isinstance(source, int) else source[size : size + _CHUNK]:
            size += len(chunk)
            if size > entry.size:
                break
            digest.update(chunk)
            yield chunk
    finally:
        if isinstance(source, int):
            os.close(source)
    if size != entry.size or (entry.sha256 and digest.hexdigest() != entry.sha256):
        raise InputOutputError(f"{entry.path}: is not what the manifest says", "build the jail anew, or learn again")


def _epoch(environment: Mapping[str, str], manifest: Manifest) -> int:
    """The newest time of a file, so that the same manifest gives the same bytes; or SOURCE_DATE_EPOCH."""
    word = environment.get("SOURCE_DATE_EPOCH", "")
    if word:
        if not word.isdecimal() or len(word) > 12:
            raise UsageError(f"SOURCE_DATE_EPOCH={word}: not a number of seconds", "see date +%s, or unset it")
        return int(word)
    times = [entry.mtime_ns // 10**9 for entry in manifest.entries if entry.type is EntryType.FILE]
    return max([0, *times])
