"""The formats of lists that are read: a function each, and a row here."""

from __future__ import annotations

from .jailkit import read_jailkit
from .lines import read_lines
from .listed import ListFormat
from .mtree import read_mtree

LIST_FORMATS: dict[str, ListFormat] = {
    "list": ListFormat("one path a line, or each ended by NUL", read_lines),
    "dpkg": ListFormat("what a package holds: /var/lib/dpkg/info/PACKAGE.list", read_lines),
    "mtree": ListFormat("mtree(5)", read_mtree),
    "jailkit": ListFormat("a section of jk_init.ini (--name SECTION)", read_jailkit),
}
