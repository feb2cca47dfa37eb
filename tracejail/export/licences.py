"""Licences in the words of SPDX. A package says them in its own: short names of Debian's copyright format 1.0, or SPDX's."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Short names of the copyright format (section 7.1) and others that say the same; all else stays a name.
_KNOWN = {
    "apache-2.0": "Apache-2.0", "apache-2": "Apache-2.0", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause", "isc": "ISC", "expat": "MIT", "cc0": "CC0-1.0", "cc0-1.0": "CC0-1.0", "zlib": "Zlib",
    "mpl-1.1": "MPL-1.1", "mpl-2.0": "MPL-2.0", "bsl-1.0": "BSL-1.0", "curl": "curl", "x11": "X11", "ntp": "NTP",
    "ftl": "FTL", "fsfap": "FSFAP", "fsfullr": "FSFULLR", "openldap-2.8": "OLDAP-2.8", "epl-1.0": "EPL-1.0",
    "epl-2.0": "EPL-2.0", "ofl-1.1": "OFL-1.1", "php-3.01": "PHP-3.01", "artistic-1.0": "Artistic-1.0",
    "artistic-2.0": "Artistic-2.0", "cddl-1.0": "CDDL-1.0", "cc-by-3.0": "CC-BY-3.0", "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0", "cc-by-sa-4.0": "CC-BY-SA-4.0", "mit": "MIT", "0bsd": "0BSD", "openssl": "OpenSSL",
    "blessing": "blessing", "unlicense": "Unlicense", "wtfpl": "WTFPL", "bzip2-1.0.6": "bzip2-1.0.6",
    "python-2.0": "Python-2.0", "ms-pl": "MS-PL", "bsd-1-clause": "BSD-1-Clause", "libpng": "Libpng", "ruby": "Ruby",
}
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-?v?(\d)(\.\d)?(\+|-only|-or-later)?", re.IGNORECASE)
_VERSIONS = {
    "GPL": ("1.0", "2.0", "3.0"), "LGPL": ("2.0", "2.1", "3.0"), "AGPL": ("1.0", "3.0"), "GFDL": ("1.1", "1.2", "1.3"),
}


def spdx_id(name: str) -> str:
    """The identifier of one licence; "" where the name is not known to be one's."""
    known = _KNOWN.get(name.lower())
    if known:
        return known
    if gnu := _GNU.fullmatch(name):
        family, version = gnu[1].upper(), f"{gnu[2]}{gnu[3] or '.0'}"
        if version in _VERSIONS[family]:
            return f"{family}-{version}-{'or-later' if gnu[4] in ('+', '-or-later') else 'only'}"
    return ""


def spdx_expression(words: str) -> str:
    """`A or B`, `A and B`, with identifiers throughout; "" where a part is not known, or where it says more than these."""
    clauses = []
    # A comma before "and" or "or" binds less tightly than one without: only what has one kind of word is taken.
    parts = re.split(r"\s+(and|or)\s+", words.strip("() "), flags=re.IGNORECASE)
    joiners = {joiner.upper() for joiner in parts[1::2]}
    if len(joiners) > 1:
        return ""
    for part in parts[::2]:
        known = spdx_id(part)
        if not known:
            return ""
        clauses.append(known)
    return f" {joiners.pop()} ".join(dict.fromkeys(clauses)) if joiners else clauses[0]


def told(licences: Iterable[str]) -> list[tuple[str, str]]:
    """(expression, name) of each licence that a package says, each only once; the expression is "" where none is known."""
    found: dict[str, tuple[str, str]] = {}
    for words in licences:
        expression = spdx_expression(words)
        found.setdefault(expression or words, (expression, words))
    return list(found.values())
