"""Advisories of a distribution, as Debian's security tracker has them in JSON, and the packages that they are about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tracejail.errors import UsageError

from .version import compare

_HINT = 'as https://security-tracker.debian.org/tracker/data/json has it: {"package": {"CVE-...": {"releases": {...}}}}'


@dataclass(frozen=True, slots=True)
class Package:
    """A package that files of the jail are of, and its source package: advisories are about the latter. `inside`: the jail
    has a list of packages of its own, by which it is known."""

    name: str
    version: str
    source: str
    source_version: str
    paths: tuple[str, ...] = ()
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One advisory about a source package of one release. `fixed` is the first version without it, "" where there is none."""

    number: str
    fixed: str
    urgency: str = ""
    description: str = ""


def read(document: Any, release: str) -> dict[str, tuple[Vulnerability, ...]]:
    """By source package, those that are or were open in a release. Raises UsageError."""
    if not isinstance(document, dict):
        raise UsageError("the advisories are no object of JSON", _HINT)
    found: dict[str, tuple[Vulnerability, ...]] = {}
    for package, numbers in document.items():
        if not isinstance(numbers, dict):
            raise UsageError(f"the advisories of {package} are no object of JSON", _HINT)
        rows = tuple(_read_package(numbers, release))
        if rows:
            found[package] = rows
    return found


def _read_package(numbers: dict[str, Any], release: str) -> Iterator[Vulnerability]:
    for number, told in numbers.items():
        releases = told.get("releases") if isinstance(told, dict) else None
        row = releases.get(release) if isinstance(releases, dict) else None
        if not isinstance(row, dict):
            continue
        fixed, status = str(row.get("fixed_version", "")), str(row.get("status", ""))
        if status not in ("open", "resolved") or fixed == "0":   # fixed in version 0: it never had it
            continue
        if status == "resolved" and not fixed:
            continue
        description = str(told.get("description", ""))
        yield Vulnerability(str(number), "" if status == "open" else fixed, str(row.get("urgency", "")), description)


def open_ones(package: Package, rows: Iterable[Vulnerability]) -> Iterator[Vulnerability]:
    """Those that a package of this version has."""
    for row in rows:
        if not row.fixed or compare(package.source_version, row.fixed) < 0:
            yield row
