"""The use case `build`: a jail from its manifest alone, the same bytes each time."""

from __future__ import annotations

import os

from tracejail.contents import contents_of, times_of
from tracejail.errors import InputOutputError
from tracejail.jail.build import populate
from tracejail.jail.remove import remove_tree
from tracejail.jail.staging import Staging, install, staging
from tracejail.jail.tree import open_tree
from tracejail.model import Manifest
from tracejail.replaceable import check_replaceable
from tracejail.resolve.host import HostRoot, open_host_root


def build_from_manifest(manifest: Manifest, jail: str, host_root: str, replace: bool, known_by: str = "") -> None:
    """Build `jail`, which appears whole or not at all. `known_by` is the manifest that says that what is there already is
    a jail, the one beside it by default.

    Raises UsageError (it is there already), InputOutputError (no room, the host's files are not those of the
    manifest), LockedError, KernelLacksError.
    """
    jail = os.path.abspath(jail)
    there = os.path.lexists(jail)
    if there and (os.path.islink(jail) or not os.path.isdir(jail)):
        raise InputOutputError(f"{jail}: is not a directory", "name another place for the jail with -j")
    # Not by what the manifest at hand says: it may be anybody's, and --replace removes what is there.
    check_replaceable(jail, known_by or jail + ".json", replace)
    host = open_host_root(host_root)
    with staging(jail) as stage:
        build_in(stage, host, manifest, jail)
        try:
            install(stage, "root", os.path.basename(jail), replace=there)
        except FileExistsError:
            raise InputOutputError(f"{jail}: it appeared while this was built", "call it again") from None


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
