"""From what runs asked for to a manifest: owners, packages, accounts, digests. Nothing in it differs between two
runs of the same thing."""

from __future__ import annotations

import marshal
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from tracejail.contents import with_digests
from tracejail.kernel.processes import in_child
from tracejail.model import (
    Accounts,
    Command,
    Content,
    Entry,
    EntryType,
    HostIdentity,
    JailPath,
    Manifest,
    Mount,
    Origin,
    PathNote,
)
from tracejail.resolve.accounts import SHADOWS, accounts_for, named_in
from tracejail.resolve.host import HostRoot, inspect, open_names, read_start
from tracejail.resolve.packages import Owner, owners
from tracejail.trial.ledger import Ledger
from tracejail.trial.outcome import Outcome
from tracejail.trial.target import MOUNT_TYPES
from tracejail.trial.walk import join, parent_of

_SHELL_SPACE = re.compile(r"[\s;&|<>()'\"=]+|//")


class Keep(Enum):
    """Which accounts the jail keeps; each keeps more than the one before."""

    USED = "those whose ids were seen"
    NAMED = "those that its programs, their configuration or its exercises name"
    ALL = "all"


class Shape(NamedTuple):
    """What beside the runs decides the manifest."""

    command: Command
    jail: str
    mounts: tuple[str, ...]
    accounts: Keep
    extra_users: frozenset[int]
    extra_groups: frozenset[int]
    extra_names: frozenset[str] = frozenset()


def host_identity(host: HostRoot) -> HostIdentity:
    """The machine that the files come from."""
    text = read_start(host, JailPath("/etc/os-release"), 4096) or read_start(host, JailPath("/usr/lib/os-release"), 4096)
    fields = dict(line.split("=", 1) for line in text.decode("utf-8", "replace").splitlines() if "=" in line)
    name = fields.get("PRETTY_NAME", "").strip("\"'")
    machine = os.uname()
    return HostIdentity(host.path, name, machine.release, machine.machine)


def assemble(host: HostRoot, ledger: Ledger, outcome: Outcome, shape: Shape, named: Iterable[Entry]) -> Manifest:
    """The manifest of a run. `named` are entries that are there for their names only.

    Raises InputOutputError for a source that can't be read.
    """
    entries = with_parents(host, ledger.entries)
    for entry in named:
        entries.setdefault(entry.path, entry)
    users = {0} | outcome.users | outcome.became | shape.extra_users | {entry.uid for entry in entries.values()}
    groups = {0} | outcome.groups | shape.extra_groups | {entry.gid for entry in entries.values()}
    arguments = _names_in(shape.command.argv[1:])
    asked = arguments | _names_in(word for line in shape.command.exercises for word in _SHELL_SPACE.split(line))
    words = arguments | shape.extra_names
    accounts = Accounts(everything=True)
    if shape.accounts is not Keep.ALL:
        words |= asked | _named(host, entries) if shape.accounts is Keep.NAMED else set()
        if any(entry.content is Content.ACCOUNTS and os.path.basename(path) in SHADOWS for path, entry in entries.items()):
            # A process that was root before has not logged in as root.
            accounts = accounts_for(host, users, groups, words, outcome.became - {0}, asked)
        else:
            accounts = accounts_for(host, users, groups, words)
    done = with_digests(host, list(entries.values()), accounts)
    _remember(ledger, done)
    return Manifest(
        command=shape.command,
        host=host_identity(host),
        jail=shape.jail,
        clean=False,
        accounts=accounts,
        entries=tuple(sorted(done, key=lambda entry: entry.path)),
        mounts=tuple(Mount(MOUNT_TYPES[name][0], JailPath(MOUNT_TYPES[name][1])) for name in sorted(shape.mounts)),
        sockets=_sorted(ledger.sockets),
        listens=tuple(sorted(outcome.listens)),
        absent=_sorted(ledger.absent),
        denied=_sorted(ledger.denied),
    )


def _names_in(words: Iterable[str]) -> set[str]:
    """What may be the name of an account: a word, or a part of it as in USER:GROUP, USER:PASSWORD, USER@HOST."""
    return {part for word in words for part in (word, *word.replace("@", ":").split(":"))}


def _remember(ledger: Ledger, entries: Iterable[Entry]) -> None:
    """The digests of the host's files, so that the next manifest of the same run has not to make them again."""
    for entry in entries:
        known = ledger.entries.get(entry.path)
        if known is not None and entry.content is Content.HOST and known.sha256 != entry.sha256:
            ledger.entries[entry.path] = replace(known, sha256=entry.sha256, size=entry.size, mtime_ns=entry.mtime_ns)


def _named(host: HostRoot, entries: dict[str, Entry]) -> set[str]:
    files = [entry for entry in entries.values() if entry.type is EntryType.FILE]
    executed = [
        entry.path for entry in files
        if entry.origin is Origin.ARGV or (entry.because is not None and entry.because.syscall.startswith("exec"))
    ]
    texts = [entry.path for entry in files if entry.path.startswith("/etc/") and entry.content is Content.HOST]
    return named_in(host, executed, texts)


def packages_of(host: HostRoot, paths: Iterable[str]) -> Callable[[], dict[str, Owner]]:
    """Begin to look for the packages of these paths and of the directories above them, beside other work; gives the
    function that waits for the answer. Paths without a package have none in it."""
    whole: set[str] = set()
    for path in paths:
        while path != "/" and path not in whole:
            whole.add(path)
            path = parent_of(path)
    given = in_child(lambda: marshal.dumps(owners(host, whole)))

    def answer() -> dict[str, Owner]:
        data = given()
        found: dict[str, Owner] = marshal.loads(data) if data else owners(host, whole)
        return dict.fromkeys(whole, ("", "")) | found

    return answer


def with_packages(host: HostRoot, manifest: Manifest, known: dict[str, Owner]) -> Manifest:
    """The manifest with the package and version that each entry belongs to; what of them is known already is not looked
    for again. Raises InputOutputError."""
    rest = [entry.path for entry in manifest.entries if entry.path not in known]
    known = known | owners(host, rest) if rest else known
    named = (
        replace(entry, package=known[entry.path][0], version=known[entry.path][1]) if entry.path in known else entry
        for entry in manifest.entries
    )
    return replace(manifest, entries=tuple(named))


def with_parents(host: HostRoot, entries: dict[str, Entry]) -> dict[str, Entry]:
    """The entries and the directories above them; one that the target made itself in the trial is not among them yet."""
    whole = dict(entries)
    made: set[str] = set()
    for path, entry in entries.items():
        above = parent_of(path)
        while above != "/" and above not in whole and above not in made:
            node = inspect(host, JailPath(above))
            if node is None or node.type is not EntryType.DIRECTORY:
                made.add(above)
                break
            whole[above] = Entry(
                JailPath(above), node.type, node.mode, node.uid, node.gid, Origin.PARENT, entry.because, entry.kind,
                phase=entry.phase,
            )
            above = parent_of(above)
    return whole


def _sorted(notes: dict[str, PathNote]) -> tuple[PathNote, ...]:
    return tuple(notes[path] for path in sorted(notes))


def same_in_both(manifest: Manifest, proof: Ledger, outcome: Outcome) -> Manifest:
    """Only what both the learning and the proving run found absent, or listened on: names and ports that are random are
    in one of them."""
    return replace(
        manifest,
        absent=tuple(note for note in manifest.absent if note.path in proof.absent),
        sockets=tuple(note for note in manifest.sockets if note.path in proof.sockets),
        listens=tuple(address for address in manifest.listens if address in outcome.listens),
    )


def names_of(host: HostRoot, directories: Iterable[str], known: Iterable[str]) -> list[Entry]:
    """Entries for the names of `directories` that are not `known`: files without content, of the true type."""
    have, named = set(known), []
    for directory in directories:
        for name in open_names(host, JailPath(directory)):
            path = JailPath(join(directory, name))
            node = inspect(host, path) if path not in have else None
            if node is None or node.type in (EntryType.CHARACTER, EntryType.BLOCK):
                continue
            content = Content.EMPTY if node.type is EntryType.FILE else Content.HOST
            mode = node.mode & 0o1777 if node.type is EntryType.FILE else node.mode
            named.append(
                Entry(path, node.type, mode, node.uid, node.gid, Origin.LISTING, target=node.target, content=content)
            )
    return named
