"""SPDX 2.3, JSON: the jail as a package whose files were analysed, and the packages that they came from.

The files of a jail are but some of a package's, so it is the jail that has a verification code; a package has its URL, its
licences as it declares them, and is the archive that its files were expanded from. Only regular files are listed: SPDX wants
a SHA1 of each, which the manifest has not, so that it is made of the file. A name of which a character can't be printed, or
that ends in a blank, is in the notation of text.py, and the file's comment says so: the tag form of SPDX is made of lines.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from tracejail import __version__
from tracejail.model import Content, Entry, EntryType

from .graph import Package, package_edges, packages
from .licences import told
from .purl import identity
from .request import Request
from .text import json_text, moment, notation, quoted

_DOCUMENT = "SPDXRef-DOCUMENT"
_JAIL = "SPDXRef-Jail"
_UNKNOWN = "NOASSERTION"
_NOTED = "the name is in a notation: \\xNN is a byte, \\\\ a backslash"


def spdx(request: Request) -> Iterator[bytes]:
    """The document."""
    created = moment(request.epoch)
    found = [package for package in packages(request.manifest) if package[0]]
    references = {package: f"SPDXRef-Package-{number}-{_idstring(package[0])}" for number, package in enumerate(found, 1)}
    licences: dict[str, str] = {}
    described = [_package(request, package, references[package], licences) for package in found]
    files = [entry for entry in request.manifest.entries if entry.type is EntryType.FILE]
    return _document(request, created, references, described, files, licences)


def _document(
    request: Request, created: str, references: dict[Package, str], described: list[dict[str, Any]], files: list[Entry],
    licences: dict[str, str],
) -> Iterator[bytes]:
    listed = [_file(request, entry, number) for number, entry in enumerate(files, 1)]
    digests = sorted(one["checksums"][0]["checksumValue"] for one in listed)
    jail = {
        **_undetermined(_JAIL, _printable(request.title)),
        "filesAnalyzed": True,
        "packageVerificationCode": {"packageVerificationCodeValue": hashlib.sha1("".join(digests).encode()).hexdigest()},
        "primaryPackagePurpose": "CONTAINER",
        "comment": f"a chroot jail, learned on {_printable(request.manifest.host.distribution) or 'an unnamed system'}",
    }
    relations = [(_DOCUMENT, "DESCRIBES", _JAIL)]
    relations += [(_JAIL, "CONTAINS", reference) for reference in references.values()]
    for entry, one in zip(files, listed, strict=True):
        relations.append((_JAIL, "CONTAINS", one["SPDXID"]))
        if entry.package and entry.content is Content.HOST:
            relations.append((one["SPDXID"], "EXPANDED_FROM_ARCHIVE", references[entry.package, entry.version]))
    relations += [
        (references[above], "DEPENDS_ON", references[below])
        for above, below in package_edges(request.manifest) if above in references and below in references
    ]
    document: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": _printable(request.title),
        "creationInfo": {"created": created, "creators": [f"Tool: tracejail-{__version__}"]},
        "packages": [jail, *described],
        "files": listed,
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other} for one, kind, other in relations
        ],
    }
    if licences:
        document["hasExtractedLicensingInfos"] = [
            {"licenseId": reference, "name": name, "extractedText": f"The copyright file of the package calls it: {name}"}
            for name, reference in licences.items()
        ]
    # A namespace for each document of its own, the same for the same.
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    unique = uuid.uuid5(uuid.NAMESPACE_OID, digest)
    document["documentNamespace"] = f"https://spdx.org/spdxdocs/{quoted(request.title)}-{unique}"
    yield from json_text(document)


def _printable(text: str) -> str:
    return text if _is_plain(text) else notation(text, " ")


def _is_plain(text: str) -> bool:
    return text.isprintable() and text == text.strip()


def _idstring(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", name)


def _undetermined(reference: str, name: str) -> dict[str, Any]:
    return {
        "SPDXID": reference, "name": name, "downloadLocation": _UNKNOWN, "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN, "copyrightText": _UNKNOWN,
    }


def _package(request: Request, package: Package, reference: str, licences: dict[str, str]) -> dict[str, Any]:
    name, url = identity(request, package)
    facts = request.facts(*package)
    made = {**_undetermined(reference, name), "filesAnalyzed": False}
    if package[1]:
        made["versionInfo"] = package[1]
    parts = []
    for expression, words in told(facts.licences if facts else ()):
        called = _printable(words)
        parts.append(expression or licences.setdefault(called, f"LicenseRef-{len(licences) + 1}-{_idstring(called)[:60]}"))
    if parts:
        made["licenseDeclared"] = " AND ".join(f"({part})" if " " in part and len(parts) > 1 else part for part in parts)
    made["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}]
    return made


def _file(request: Request, entry: Entry, number: int) -> dict[str, Any]:
    first, second = hashlib.sha1(), hashlib.sha256()
    for piece in request.contents(entry):
        first.update(piece)
        second.update(piece)
    path = "." + entry.path
    made: dict[str, Any] = {
        "SPDXID": f"SPDXRef-File-{number}",
        "fileName": _printable(path),
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": first.hexdigest()},
            {"algorithm": "SHA256", "checksumValue": second.hexdigest()},
        ],
        "licenseConcluded": _UNKNOWN,
        "licenseInfoInFiles": [_UNKNOWN],
        "copyrightText": _UNKNOWN,
    }
    if not _is_plain(path):
        made["comment"] = _NOTED
    return made
