"""The use case `build`: a jail from its manifest alone, the same bytes each time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from tracejail.contents import contents_of, times_of, with_digests
from tracejail.errors import InputOutputError, SourceChangedError
from tracejail.foreign import Settled, settled
from tracejail.jail.build import populate
from tracejail.jail.remove import remove_tree
from tracejail.jail.staging import Staging, install, staging
from tracejail.jail.tree import open_tree
from tracejail.model import Manifest
from tracejail.replaceable import check_replaceable
from tracejail.resolve.host import HostRoot, open_host_root

_CHANGES = 20  # of sources while a jail is built, before it is given up


def build_from_manifest(manifest: Manifest, jail: str, host_root: str, replace: bool, known_by: str = "") -> Settled:
    """Build `jail`, which appears whole or not at all; gives the manifest of it, and what was left out. `known_by` is the
    manifest that says that what is there already is a jail, the one beside it by default.

    Raises UsageError (it is there already), InputOutputError (no room, the host's files are not those of the
    manifest), LockedError, KernelLacksError.
    """
    jail = os.path.abspath(jail)
    there = os.path.lexists(jail)
    # Not by what the manifest at hand says: it may be anybody's, and --replace removes what is there.
    check_replaceable(jail, known_by or jail + ".json", replace)
    host = open_host_root(host_root)
    built = settled(host, manifest)
    with staging(jail) as stage:
        build_in(stage, host, built.manifest, jail)
        try:
            install(stage, "root", os.path.basename(jail), replace=there)
        except FileExistsError:
            raise InputOutputError(f"{jail}: it appeared while this was built", "call it again") from None
    return built


def taking_changes(host: HostRoot, manifest: Manifest, build: Callable[[Manifest], None]) -> Manifest:
    """Build with a file that changes on the host meanwhile, as a log does, taken as it is now; gives the manifest of what
    was built. Raises InputOutputError, what the building raises, and SourceChangedError where it never ends."""
    for _ in range(_CHANGES):
        try:
            build(manifest)
            return manifest
        except SourceChangedError as error:
            entries = [replace(entry, sha256="") if entry.path == error.path else entry for entry in manifest.entries]
            manifest = replace(manifest, entries=tuple(with_digests(host, entries, manifest.accounts)))
    build(manifest)
    return manifest


def build_in(stage: Staging, host: HostRoot, manifest: Manifest, name: str) -> None:
    """The jail in the staging directory, in place of one that was built there before; `name` is it in messages.

    Raises InputOutputError, SourceChangedError.
    """
    remove_tree(stage.fd, "root")
    os.mkdir("root", 0o755, dir_fd=stage.fd)
    fd = os.open("root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=stage.fd)
    try:
        os.fchmod(fd, 0o755)
        contents = contents_of(host, manifest.entries, manifest.accounts)
        populate(open_tree(fd, name), manifest.entries, contents, times_of(host))
    finally:
        os.close(fd)
