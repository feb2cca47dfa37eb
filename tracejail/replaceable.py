"""Whether a directory may be replaced: `--replace` removes what was there, and must never remove anything but a jail."""

from __future__ import annotations

import os

from tracejail.errors import InputOutputError, TracejailError, UsageError
from tracejail.kernel.mountinfo import mount_lines
from tracejail.manifest import read_manifest
from tracejail.model import Manifest


def check_manifest_place(path: str) -> None:
    """Raises InputOutputError where no manifest can be written to this absolute path."""
    if not os.path.isdir(os.path.dirname(path)):
        raise InputOutputError(f"{os.path.dirname(path)}: no such directory", "make it, or name another with -m")
    if os.path.isdir(path):
        raise InputOutputError(f"{path}: is a directory", "name another file for the manifest with -m")


def check_replaceable(jail: str, manifest_path: str, replace: bool) -> None:
    """Nothing where `jail` (an absolute path) is not there or empty. Raises InputOutputError: it is no directory;
    UsageError: no `replace`, no manifest that says that this directory is a jail, or something is mounted in it."""
    if os.path.lexists(jail) and (os.path.islink(jail) or not os.path.isdir(jail)):
        raise InputOutputError(f"{jail}: is not a directory", "name another place for the jail with -j")
    if not os.path.isdir(jail) or not os.listdir(jail):
        return
    if not replace:
        hint = "--replace makes it anew, --append adds to it, -j names another place"
        raise UsageError(f"{jail}: there is something already", hint)
    try:
        known = read_manifest(manifest_path).jail
    except TracejailError as error:
        known = f"nothing ({error.message})"
    if os.path.realpath(known) != os.path.realpath(jail):
        cause = f"{jail}: {manifest_path} does not say that this is a jail of tracejail"
        raise UsageError(cause, "what is in it would be removed: if that is right, do it yourself first")
    beneath = [line.point for line in mount_lines() if line.point.startswith(os.path.realpath(jail) + "/")]
    if beneath:
        raise UsageError(f"{beneath[0]}: is mounted in the jail that is to be replaced", f"umount {beneath[0]} first")


def read_former(path: str) -> Manifest:
    """The manifest that is to be added to. Raises ManifestError, InputOutputError; UsageError where it was merged from
    several hosts: what is learned is a fact of one of them."""
    former = read_manifest(path)
    if former.merged:
        labels = ", ".join(row.label for row in former.merged)
        hint = "add to the manifest of this host itself, and merge again"
        raise UsageError(f"{path}: was merged from several hosts ({labels})", hint)
    return former
