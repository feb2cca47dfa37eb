"""Package URLs in canonical form (purl-spec: each part percent-encoded but for letters, digits and .-_~:, keys sorted)."""

from __future__ import annotations

import re

from tracejail.errors import ExportError

from .graph import Package
from .request import Distribution, PackageFacts, Request
from .text import quoted

# Where the host is not at hand: who makes a distribution's packages, by the first word of its name, and their form.
_VENDORS = {"debian": "deb", "ubuntu": "deb", "alpine": "apk"}
# What dpkg and apk allow: deb-control(5), apk-package(5).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*(:[a-z0-9-]+)?")
_VERSION = re.compile(r"([A-Za-z0-9][A-Za-z0-9.+:~_-]*)?")


def identity(request: Request, package: Package) -> tuple[str, str]:
    """The name without the architecture that dpkg adds, and the package URL. Raises ExportError where it can't be known
    whose package it is."""
    name, version = package
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        cause = f"package {name!r}, version {version!r}: no package is called so"
        raise ExportError(cause, "learn it again, or correct the manifest")
    facts = request.facts(name, version)
    made_by = request.distribution()
    first = request.manifest.host.distribution.partition(" ")[0].lower()
    if made_by is None and first in _VENDORS:
        made_by = Distribution(first, "")
    if made_by is not None and facts is None and made_by.vendor in _VENDORS:
        facts = PackageFacts(_VENDORS[made_by.vendor])
    if made_by is None or facts is None:
        raise ExportError(
            f"package {name!r}: the manifest does not say which distribution's it is",
            "say --from ROOT, the host that it was learned on, with its package data base",
        )
    architecture = facts.architecture
    if facts.form == "deb" and ":" in name:
        name, _, architecture = name.partition(":")
    qualifiers = {"arch": architecture, "distro": f"{made_by.vendor}-{made_by.release}" if made_by.release else made_by.vendor}
    text = f"pkg:{facts.form}/{quoted(made_by.vendor.lower())}/{quoted(name.lower())}"
    text += f"@{quoted(version)}" if version else ""
    return name, f"{text}?" + "&".join(f"{key}={quoted(value)}" for key, value in sorted(qualifiers.items()) if value)

