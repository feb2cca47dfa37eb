"""What is put into an initramfs: a hook of initramfs-tools(7), a configuration of dracut.conf(5), a list of gen_init_cpio.

The first takes the files from the jail; dracut takes the host's own, and makes accounts, caches and devices itself. Lines of
the last two are words apart by blanks, which nothing can escape: what has one is refused.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator

from tracejail.errors import ExportError
from tracejail.model import Content, EntryType, Manifest

from .request import Request, archived

# Of dracut.conf, a shell script, also no pattern: it goes through the words as a shell does.
_WORD = re.compile(r"[^\x00-\x20\x7f\"'\\$`*?\[]+")
_HOOK = """#!/bin/sh
# initramfs-tools(7): a file of /etc/initramfs-tools/hooks, to be executable.
case ${1-} in prereqs) exit 0;; esac
set -e
JAIL=%s

# What the initramfs has by then stays as it is.
lies() { [ -e "$DESTDIR$1" ] || [ -L "$DESTDIR$1" ]; }
directory() { lies "$1" || { mkdir "$DESTDIR$1"; chown "$3" "$DESTDIR$1"; chmod "$2" "$DESTDIR$1"; }; }
other() { lies "$1" || cp -a "$JAIL$1" "$DESTDIR$1"; }
again() { lies "$1" || ln "$DESTDIR$2" "$DESTDIR$1"; }

"""


def initramfs(request: Request) -> Iterator[bytes]:
    """A hook, a shell script: all words are quoted."""
    yield _HOOK.encode("ascii") % os.fsencode(shlex.quote(request.jail))
    for entry in archived(request.manifest, "an initramfs"):
        path = os.fsencode(shlex.quote(entry.path))
        if entry.type is EntryType.DIRECTORY:
            yield b"directory %s %04o %d:%d\n" % (path, entry.mode, entry.uid, entry.gid)
        elif entry.hard_link:
            yield b"again %s %s\n" % (path, os.fsencode(shlex.quote(entry.hard_link)))
        else:
            yield b"other %s\n" % path


def dracut(request: Request) -> Iterator[bytes]:
    """A configuration that installs files and links of the host."""
    taken = [entry for entry in request.manifest.entries
             if entry.type in (EntryType.FILE, EntryType.SYMLINK) and entry.content is Content.HOST]
    for entry in taken:
        _check(entry.path, "dracut.conf")
    yield b"# dracut.conf(5); the files are the host's.\n"
    for entry in taken:
        yield b'install_items+=" %s "\n' % os.fsencode(entry.path)


def gen_init_cpio(request: Request) -> Iterator[bytes]:
    """The list that the kernel's usr/gen_init_cpio takes; files come from the jail."""
    manifest = request.manifest
    entries = archived(manifest, "gen_init_cpio")
    further = _further_names(manifest)
    _check(request.jail, "gen_init_cpio")
    for entry in entries:
        for word in (entry.path, *([entry.target] if entry.target else [])):
            _check(word, "gen_init_cpio")
        if entry.xattrs:
            raise ExportError(f"{entry.path}: gen_init_cpio says no extended attributes ({entry.xattrs[0][0]})", "tar holds it")
    yield b"# usr/gen_init_cpio of the kernel\n"
    for entry in entries:
        if entry.hard_link:
            continue
        facts = f"{entry.mode:04o} {entry.uid} {entry.gid}"
        match entry.type:
            case EntryType.DIRECTORY:
                line = f"dir {entry.path} {facts}"
            case EntryType.SYMLINK:
                line = f"slink {entry.path} {entry.target} {facts}"
            case EntryType.FIFO:
                line = f"pipe {entry.path} {facts}"
            case EntryType.FILE:
                line = " ".join([f"file {entry.path} {request.jail}{entry.path} {facts}", *further[entry.path]])
            case _:
                kind = "c" if entry.type is EntryType.CHARACTER else "b"
                major, minor = entry.device or (0, 0)
                line = f"nod {entry.path} {facts} {kind} {major} {minor}"
        yield os.fsencode(line) + b"\n"


def _further_names(manifest: Manifest) -> defaultdict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for entry in manifest.entries:
        if entry.hard_link:
            found[entry.hard_link].append(entry.path)
    return found


def _check(word: str, form: str) -> None:
    if not _WORD.fullmatch(word):
        raise ExportError(f"{word!r}: {form} takes no name with a blank, a quote or the like", "cpio holds it")
