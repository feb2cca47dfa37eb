"""Bills of materials: what comes back is what went in, whatever the names; and the packages' URLs and licences."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import hostile
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hostile import EXAMPLES, made
from hostile_graph import distribution, facts, graphs, out_of_notation
from hypothesis import given
from hypothesis import strategies as st
from nouns import directory, entry, manifest
from packageurl import PackageURL
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from tracejail.errors import ExportError
from tracejail.export.licences import spdx_expression, spdx_id, told
from tracejail.export.purl import identity
from tracejail.export.request import Distribution, PackageFacts
from tracejail.export.text import notation
from tracejail.exporting import HostPackages
from tracejail.model import EntryType, HostIdentity, Manifest
from tracejail.resolve.host import open_host_root
from tracejail.resolve.package_facts import PackageBase, copyright_licences

_ASKED: dict[str, Any] = {"facts": facts, "distribution": distribution}


@EXAMPLES
@given(hostile.names)
def test_the_notation_comes_back(name: str) -> None:
    assert out_of_notation(notation(name)) == os.fsencode(name) == out_of_notation(notation(name, " ;"))
    assert notation(name).isprintable() and not set(notation(name, " ;")) & set(" ;")


def _plain(text: bytes) -> dict[str, Any]:
    assert not set(text) - set(range(32, 127)) - {10}
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def _name(text: str, is_noted: bool) -> str:
    return os.fsdecode(out_of_notation(text)) if is_noted else text


def _is_odd_package(jail: Manifest, refused: ExportError) -> bool:
    return any(f"package {one.package!r}, version {one.version!r}" in refused.message for one in jail.entries)


_STRICT = JsonStrictValidator(SchemaVersion.V1_6)


# --- CycloneDX ------------------------------------------------------------------------------------------------------


def _components(found: list[dict[str, Any]], package: str = "") -> list[tuple[str, dict[str, Any]]]:
    every = []
    for one in found:
        every.append((package, one))
        every += _components(one.get("components", []), one["bom-ref"])
    return every


@EXAMPLES
@given(graphs())
def test_cyclonedx_comes_back(jail: Manifest) -> None:
    try:
        data = made("cyclonedx", jail, **_ASKED)
    except ExportError as refused:
        assert _is_odd_package(jail, refused)
        return
    assert data == made("cyclonedx", jail, **_ASKED)
    document = _plain(data)
    assert _STRICT.validate_str(data.decode("ascii")) is None
    every = _components(document["components"])
    references = [one["bom-ref"] for _, one in every]
    assert len(references) == len(set(references))
    urls = {one["bom-ref"]: one["purl"] for _, one in every if one["type"] == "library"}
    assert len(set(urls.values())) == len(urls)
    files = {}
    for package, one in every:
        if one["type"] != "file":
            continue
        is_noted = any(each["name"] == "tracejail:notation" for each in one["properties"])
        files[_name(one["name"], is_noted)] = one["hashes"], package
    known = {str(one.path): one for one in jail.entries if one.type is EntryType.FILE}
    assert files.keys() == known.keys()
    for path, (hashes, package) in files.items():
        assert hashes == [{"alg": "SHA-256", "content": known[path].sha256}]
        assert bool(package) == bool(known[path].package)
        if package:
            # The reader of the package URL's own library: it refuses what is none, and gives the parts back.
            back = PackageURL.from_string(urls[package])
            assert back.to_string() == urls[package]
            name, _, architecture = known[path].package.partition(":")
            assert (back.type, back.namespace, back.name) == ("deb", "debian", name.lower())
            assert (back.version or "") == known[path].version
            assert back.qualifiers == {"arch": architecture or "amd64", "distro": "debian-12"}
    for depends in document["dependencies"]:
        assert {depends["ref"], *depends["dependsOn"]} <= {"jail", *references}


def test_cyclonedx_says_who_brought_what() -> None:
    jail = manifest(
        entry("/bin", type=EntryType.SYMLINK, target="usr/bin", sha256="", size=0, package="any", version="1"),
        directory("/usr"), directory("/usr/bin"), entry("/usr/bin/a", package="a", version="1:1+b~2"), directory("/lib"),
        entry("/lib/b.so", package="b:amd64", version="2", via="/usr/bin/a"), entry("/plain", sha256="c" * 64),
    )
    document = _plain(made("cyclonedx", jail, **_ASKED))
    assert [(one["name"], one.get("purl")) for one in document["components"]] == [
        ("/plain", None), ("a", "pkg:deb/debian/a@1:1%2Bb~2?arch=amd64&distro=debian-12"),
        ("b", "pkg:deb/debian/b@2?arch=amd64&distro=debian-12"),
    ]
    assert [(one["ref"], one["dependsOn"]) for one in document["dependencies"]] == [
        ("jail", ["package-1", document["components"][0]["bom-ref"]]), ("package-1", ["package-2"]), ("package-2", []),
    ]
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:21Z" and document["serialNumber"].startswith("urn:uuid:")


@pytest.mark.parametrize(("said", "given"), [
    ((), None),
    (("GPL-2+", "odd"), [{"license": {"id": "GPL-2.0-or-later"}}, {"license": {"name": "odd"}}]),
    (("GPL-2+ or Expat", "ISC"), [{"expression": "(GPL-2.0-or-later OR MIT) AND ISC"}]),
    (("GPL-2+ or Expat", "odd"), [{"license": {"name": "GPL-2.0-or-later OR MIT"}}, {"license": {"name": "odd"}}]),
])
def test_cyclonedx_says_licences(said: tuple[str, ...], given: list[dict[str, Any]] | None) -> None:
    jail = manifest(entry("/a", package="a", version="1"))
    text = made("cyclonedx", jail, facts=lambda _name, _version: PackageFacts("deb", "all", said), distribution=distribution)
    assert _STRICT.validate_str(text.decode("ascii")) is None
    found = _plain(text)["components"][0].get("licenses")
    for one in found or ():
        assert one.get("license", one).pop("acknowledgement") == "declared"
    assert found == given


def test_a_package_of_nobody_is_refused() -> None:
    jail = manifest(entry("/a", package="a", version="1"), host=HostIdentity("/", "Some Linux", "6", "x86_64"))
    for form in ("cyclonedx", "spdx"):
        with pytest.raises(ExportError, match="distribution") as caught:
            made(form, jail)
        assert "--from" in caught.value.hint
    # Debian's own name is enough for a package URL, without architecture.
    request = hostile.request(manifest(entry("/a", package="a", version="1")))
    assert identity(request, ("a", "1")) == ("a", "pkg:deb/debian/a@1?distro=debian")
    alpine = hostile.request(
        jail, facts=lambda _name, _version: PackageFacts("apk", "x86_64"), distribution=lambda: Distribution("alpine", "3.19.1")
    )
    assert identity(alpine, ("so.a", "1-r0")) == ("so.a", "pkg:apk/alpine/so.a@1-r0?arch=x86_64&distro=alpine-3.19.1")


def test_a_date_that_none_is() -> None:
    for form in ("cyclonedx", "spdx"):
        with pytest.raises(ExportError, match="9999"):
            made(form, manifest(entry("/a")), epoch=10**12 - 1)


# --- SPDX -----------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(graphs())
def test_spdx_comes_back(jail: Manifest) -> None:
    try:
        data = made("spdx", jail, **_ASKED)
    except ExportError as refused:
        assert _is_odd_package(jail, refused)
        return
    assert data == made("spdx", jail, **_ASKED)
    document = _plain(data)
    # The parser and the rules of pyspdxtools.
    assert validate_full_spdx_document(JsonLikeDictParser().parse(document)) == []
    known = {str(one.path): one for one in jail.entries if one.type is EntryType.FILE}
    files, digests = {}, []
    for one in document["files"]:
        assert one["fileName"].startswith("./") and one["fileName"].isprintable()
        path = _name(one["fileName"], "comment" in one)[1:]
        content = hostile.bytes_of(known[path].hard_link or path)
        sums = {each["algorithm"]: each["checksumValue"] for each in one["checksums"]}
        assert sums == {"SHA1": hashlib.sha1(content).hexdigest(), "SHA256": known[path].sha256}
        files[one["SPDXID"]] = path
        digests.append(sums["SHA1"])
    assert sorted(files.values()) == sorted(known)
    packages = {one["SPDXID"]: one for one in document["packages"]}
    code = packages["SPDXRef-Jail"]["packageVerificationCode"]["packageVerificationCodeValue"]
    assert code == hashlib.sha1("".join(sorted(digests)).encode()).hexdigest()
    every = ["SPDXRef-DOCUMENT", *packages, *files]
    assert len(every) == len(set(every)) and all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", one) for one in every)
    related = [(one["spdxElementId"], one["relationshipType"], one["relatedSpdxElement"]) for one in document["relationships"]]
    assert len(related) == len(set(related)) and {one for each in related for one in each[::2]} <= set(every)
    came = {files[one]: packages[other] for one, kind, other in related if kind == "EXPANDED_FROM_ARCHIVE"}
    assert {path: (one["name"], one.get("versionInfo", "")) for path, one in came.items()} == {
        path: (one.package.partition(":")[0], one.version) for path, one in known.items() if one.package
    }


def test_spdx_says_licences() -> None:
    jail = manifest(entry("/a", package="a", version="1"), entry("/b", package="b", version="1"))
    said = {"a": ("GPL-2+", "MIT or ISC", "a <b>"), "b": ()}
    asked = {"facts": lambda name, _: PackageFacts("deb", "all", said[name]), "distribution": distribution}
    document = _plain(made("spdx", jail, **asked))
    declared = {one["name"]: one["licenseDeclared"] for one in document["packages"]}
    assert declared["a"] == "GPL-2.0-or-later AND (MIT OR ISC) AND LicenseRef-1-a--b-" and declared["b"] == "NOASSERTION"
    assert [one["licenseId"] for one in document["hasExtractedLicensingInfos"]] == ["LicenseRef-1-a--b-"]


# --- licences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "expression"), [
    ("GPL-2+", "GPL-2.0-or-later"), ("GPL-2", "GPL-2.0-only"), ("GPLv3+", "GPL-3.0-or-later"), ("Expat", "MIT"),
    ("LGPL-2.1+ or MPL-1.1", "LGPL-2.1-or-later OR MPL-1.1"), ("GPL-1+ or Artistic", ""), ("BSD-3-clause", "BSD-3-Clause"),
    ("GPL-2+ with OpenSSL exception", ""), ("GPL-2.5", ""), ("MIT or ISC and Zlib", ""), ("MIT AND ISC", "MIT AND ISC"),
    ("GPL-2.0-only", "GPL-2.0-only"), ("AGPL-3.0-or-later", "AGPL-3.0-or-later"),
    ("public-domain", ""), ("MIT or Expat", "MIT"), ("", ""),
])
def test_licences_in_the_words_of_spdx(words: str, expression: str) -> None:
    assert spdx_expression(words) == expression


def test_a_licence_that_is_two_names() -> None:
    assert told(["Expat", "MIT", "odd"]) == [("MIT", "Expat"), ("", "odd")]
    assert spdx_id("MIT") == "MIT" and spdx_id("MIT or ISC") == ""


@given(st.text())
def test_any_licence_is_a_name_or_an_expression(words: str) -> None:
    for part in re.split(" (?:OR|AND) ", spdx_expression(words)) if spdx_expression(words) else []:
        assert re.fullmatch(r"[A-Za-z0-9.-]+", part)


_COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2000 A
License:  GPL-2+

Files: b
License: Expat
 and its text

Files: c
License: GPL-2+

License: ISC
 only a text
"""


def test_licences_of_copyright_files(tmp_path: Path) -> None:
    assert copyright_licences(_COPYRIGHT) == ("GPL-2+", "Expat")
    assert copyright_licences("This package is under the GPL.\nLicense: GPL\n") == ()
    docs = tmp_path / "usr/share/doc/tool"
    docs.mkdir(parents=True)
    (docs / "copyright").write_text(_COPYRIGHT)
    base = tmp_path / "var/lib/dpkg"
    base.mkdir(parents=True)
    (base / "status").write_text("Package: tool\nArchitecture: amd64\nVersion: 1:2-3\n\nPackage: ../x\nVersion: 1\n")
    found = PackageBase(open_host_root(str(tmp_path)))
    known = found.find("tool:amd64", "1:2-3")
    assert known and (known.form, known.architecture, known.licences) == ("deb", "amd64", ("GPL-2+", "Expat"))
    assert found.find("tool", "1:2-4") is None and found.find("other", "1") is None
    odd = found.find("../x", "1")
    assert odd and odd.licences == ()


def test_licences_of_alpine(tmp_path: Path) -> None:
    base = tmp_path / "lib/apk/db"
    base.mkdir(parents=True)
    (base / "installed").write_text("C:Q1\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\nF:lib\n\nP:zlib\nV:1\nL:Zlib\n")
    known = PackageBase(open_host_root(str(tmp_path))).find("musl", "1.2.4-r2")
    assert known and (known.form, known.architecture, known.licences) == ("apk", "x86_64", ("MIT",))


def test_another_host_has_nothing_to_say(tmp_path: Path) -> None:
    for path, text in (
        ("etc/os-release", 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\n'),
        ("var/lib/dpkg/status", "Package: a\nArchitecture: all\nVersion: 1\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    jail = manifest(entry("/a", package="a", version="1"))
    same = HostPackages(jail, str(tmp_path))
    assert same.facts("a", "1") == PackageFacts("deb", "all") and same.distribution() == Distribution("debian", "12")
    assert same.facts("a", "2") is None
    other = manifest(*jail.entries, host=HostIdentity("/", "Debian GNU/Linux 13 (trixie)", "6", "x86_64"))
    for gone in (HostPackages(other, str(tmp_path)), HostPackages(jail, str(tmp_path / "gone"))):
        assert gone.facts("a", "1") is None and gone.distribution() is None
