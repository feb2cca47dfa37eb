"""CycloneDX 1.6, JSON: packages with their package URLs and licences, in each its files of the jail, with their digests.

Only regular files are components, one for each name: a link has no bytes of its own. A name that is not UTF-8 is in the
notation of text.py, and has the property tracejail:notation. The same manifest gives the same bytes, serial number too.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

from tracejail import __version__
from tracejail.model import Entry, EntryType

from .graph import Package, package_edges, packages
from .licences import spdx_id, told
from .purl import identity
from .request import Request
from .text import is_text, json_text, moment, named

_JAIL = "jail"


def cyclonedx(request: Request) -> Iterator[bytes]:
    """The document."""
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": moment(request.epoch),
            "tools": {"components": [{"type": "application", "name": "tracejail", "version": __version__}]},
            "component": {"type": "application", "bom-ref": _JAIL, "name": named(request.title)},
            "properties": [{"name": "tracejail:distribution", "value": named(request.manifest.host.distribution)}],
        },
        **_parts(request),
    }
    # From the whole of the document: another one has another number, and the same has the same.
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}"
    return json_text(document)


def _parts(request: Request) -> dict[str, Any]:
    found = packages(request.manifest)
    components: list[dict[str, Any]] = []
    references: dict[Package, str] = {}
    alone: list[str] = []
    for package, entries in found.items():
        files = [_file(request, entry) for entry in entries if entry.type is EntryType.FILE]
        if not package[0]:
            components += files
            alone = [file["bom-ref"] for file in files]
            continue
        references[package] = f"package-{len(references) + 1}"
        components.append(_package(request, package, references[package], files))
    edges = [edge for edge in package_edges(request.manifest) if edge[0] in references and edge[1] in references]
    brought = {below for _, below in edges}
    first = [reference for package, reference in references.items() if package not in brought]
    depends = [{"ref": _JAIL, "dependsOn": [*(first or references.values()), *alone]}]
    for package, reference in references.items():
        depends.append({"ref": reference, "dependsOn": [references[below] for above, below in edges if above == package]})
    return {"components": components, "dependencies": depends}


def _package(request: Request, package: Package, reference: str, files: list[dict[str, Any]]) -> dict[str, Any]:
    version = package[1]
    name, url = identity(request, package)
    made: dict[str, Any] = {"type": "library", "bom-ref": reference, "name": named(name)}
    if version:
        made["version"] = named(version)
    facts = request.facts(*package)
    if licences := _licences(facts.licences if facts else ()):
        made["licenses"] = licences
    made["purl"] = url
    if files:
        made["components"] = files
    return made


def _licences(words: tuple[str, ...]) -> list[dict[str, Any]]:
    """One expression where a licence has alternatives and all are known, else a list: by identifier, or by name."""
    found = told(words)
    if any(expression and not spdx_id(expression) for expression, _ in found) and all(expression for expression, _ in found):
        parts = [f"({expression})" if " OR " in expression else expression for expression, _ in found]
        return [{"expression": " AND ".join(parts), "acknowledgement": "declared"}]
    return [
        {"license": {"id" if spdx_id(expression) else "name": expression or named(name), "acknowledgement": "declared"}}
        for expression, name in found
    ]


def _file(request: Request, entry: Entry) -> dict[str, Any]:
    digest = entry.sha256
    if not digest:
        whole = hashlib.sha256()
        for piece in request.contents(entry):
            whole.update(piece)
        digest = whole.hexdigest()
    properties = [{"name": "tracejail:origin", "value": entry.origin.value}]
    if not is_text(entry.path):
        properties.append({"name": "tracejail:notation", "value": "\\xNN is a byte, \\\\ a backslash"})
    return {
        "type": "file",
        "bom-ref": f"file:{hashlib.sha256(entry.path.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}",
        "name": named(entry.path),
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "properties": properties,
    }
