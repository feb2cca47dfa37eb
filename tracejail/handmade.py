"""The use cases `import` and `adopt`: a manifest of a jail that was made without one, from a list or from the jail itself.

Both are first guesses: `verify` shows what is missing, `learn --append` brings it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracejail.assemble import Keep, Shape, assemble, host_identity, packages_of, with_packages
from tracejail.contents import contents_of
from tracejail.deps import closure_of
from tracejail.errors import TracejailError, UsageError
from tracejail.guessed import from_list
from tracejail.importing.listed import Listed
from tracejail.jail.build import Contents
from tracejail.jail.content import digest_of
from tracejail.kernel.paths import is_mounted
from tracejail.manifest import write_manifest
from tracejail.model import (
    Accounts,
    Because,
    Command,
    Content,
    Entry,
    EntryType,
    JailPath,
    Manifest,
    Mount,
    Origin,
    PathNote,
    TrialOptions,
)
from tracejail.replaceable import check_manifest_place
from tracejail.resolve.host import HostNode, HostRoot, glob, inspect, names, open_host_root, open_source, read_start, xattrs
from tracejail.resolve.policy import judge
from tracejail.trial.ledger import Ledger
from tracejail.trial.outcome import Outcome
from tracejail.trial.supply import MADE, Supply
from tracejail.trial.target import MOUNT_TYPES, find_identity, find_program, include, new_supply, put_base, rules_of, scratch_tree
from tracejail.trial.walk import Place, join

_NAMED = 5           # paths that a note names
_START = 1 << 16     # bytes of a file that the policy looks at
_LARGEST = 64 << 20  # bytes of a file of accounts


@dataclass(frozen=True, slots=True)
class Made:
    """A manifest, where it was written, and what there is to say of it."""

    manifest: Manifest
    path: str
    notes: tuple[str, ...]


def import_list(listed: Listed, where: str, options: TrialOptions) -> Made:
    """The manifest of what a list names, taken from the host. Raises UsageError, InputOutputError, DeniedError."""
    manifest_path = _place(options)
    host = open_host_root(options.host_root)
    notes: dict[str, None] = {}
    with scratch_tree() as tree:
        supply = new_supply(host, tree, rules_of(options, frozenset()))
        supply.on_paper = True
        program = find_program(host, options.argv[0])
        put_base(supply)
        _take(supply, program, Origin.ARGV)
        gone = [path for word in listed.paths for path in _spelled(host, word, listed.patterns, notes)
                if not _take(supply, path, Origin.INCLUDE, listed.whole)]
        if listed.libraries:
            files = [path for path, entry in supply.ledger.entries.items() if entry.type is EntryType.FILE]
            for row in closure_of(host, files):
                if row.found:
                    _take(supply, row.path, Origin.ELF_NEEDED, via=row.needed_by)
        _say(notes, gone, "on the list, and not on the host")
        notes |= supply.warnings
        manifest = _assembled(host, supply.ledger, program, options, (*listed.users, *listed.groups))
    digests = dict(listed.digests)
    changed = [entry.path for entry in manifest.entries
               if entry.content is Content.HOST and digests.get(entry.path, entry.sha256) != entry.sha256]
    _say(notes, changed, "not what the list says: the host's is another one")
    return _written(replace(manifest, warnings=(from_list(where),)), manifest_path, notes)


def adopt(directory: str, options: TrialOptions) -> Made:
    """The manifest of a jail that is there. Its files are to be the host's: those that are not are named.

    Raises UsageError, InputOutputError.
    """
    manifest_path = _place(options)
    root, host = open_host_root(directory), open_host_root(options.host_root)
    if os.path.samefile(directory, options.host_root):
        raise UsageError(f"{directory}: is the root directory itself", "name the directory of a jail")
    program = find_program(root, options.argv[0])
    notes: dict[str, None] = {}
    ledger, mounts = Ledger(), set()
    first: dict[tuple[int, int], str] = {}
    top = os.stat(directory).st_dev
    kept = _accounts_in(root)
    pending = ["/"]
    while pending:
        above = pending.pop()
        for name in names(root, JailPath(above)):
            path = JailPath(join(above, name))
            node = inspect(root, path)
            if node is None:
                continue
            if node.type is EntryType.SOCKET:
                notes[f"{path}: a socket, and no part of a jail that is built: its server makes it"] = None
                continue
            ledger.entries[path] = _entry(root, node, first)
            if node.virtual or (node.inode[0] != top and is_mounted(root.fd, path)):
                mounts |= {kind for kind, (_, at) in MOUNT_TYPES.items() if at == path}
                _say(notes, [path], "something is mounted there, and was not looked into")
            elif node.type is EntryType.DIRECTORY:
                pending.append(path)
    _deny(root, ledger, options.allows)
    _leave_out(ledger, set(ledger.denied))
    others = _not_the_hosts(root, host, ledger, kept)
    _say(notes, others, "not as the host has it, and so not in the manifest: no jail with it can be built from the host")
    _leave_out(ledger, set(others))
    manifest = Manifest(
        command=_command(host, program, options), host=host_identity(host), jail=os.path.abspath(directory), clean=False,
        accounts=kept, entries=tuple(sorted(ledger.entries.values(), key=lambda entry: entry.path)),
        mounts=tuple(Mount(MOUNT_TYPES[kind][0], JailPath(MOUNT_TYPES[kind][1])) for kind in sorted(mounts)),
        denied=tuple(ledger.denied[path] for path in sorted(ledger.denied)),
        warnings=(from_list(os.path.abspath(directory)),),
    )
    manifest = with_packages(host, manifest, packages_of(host, [entry.path for entry in manifest.entries])())
    return _written(manifest, manifest_path, notes)


# --- the parts of both ------------------------------------------------------------------------------------------------


def _place(options: TrialOptions) -> str:
    path = os.path.abspath(options.manifest or options.jail + ".json")
    check_manifest_place(path)
    if os.path.exists(path) and not options.replace:
        raise UsageError(f"{path}: is there already", "--replace makes it anew, -m names another one")
    return path


def _command(host: HostRoot, program: str, options: TrialOptions) -> Command:
    user = find_identity(host, options.user)
    return Command(
        (program, *options.argv[1:]), directory=options.directory, user=options.user, uid=user.uid, gid=user.gid,
        groups=user.groups, kept=options.kept, environment=tuple(sorted(key for key, _ in options.environment)),
    )


def _written(manifest: Manifest, path: str, notes: dict[str, None]) -> Made:
    write_manifest(manifest, path)
    return Made(manifest, path, tuple(notes))


def _say(notes: dict[str, None], paths: Sequence[str], what: str) -> None:
    if paths:
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        notes[f"{', '.join(paths[:_NAMED])}{more}: {what}"] = None


# --- from a list ------------------------------------------------------------------------------------------------------


def _spelled(host: HostRoot, word: str, patterns: bool, notes: dict[str, None]) -> list[str]:
    """The paths that a word of the list stands for."""
    if not patterns:
        return [word]
    if "/" in word:
        return glob(host, word) or [word]
    try:
        return [find_program(host, word)]
    except UsageError as error:
        notes[error.message] = None
        return []


def _take(supply: Supply, path: str, origin: Origin, whole: bool = False, via: str = "") -> bool:
    """A path, the last name not followed, and all that leads to it; whether the host has it."""
    found = supply.resolve("/", "/", path, follow=False)
    if found.place is not Place.FOUND:
        supply.ledger.absent[path] = PathNote(path, "not on the host", Because("", "", path))
        return False
    refusal = supply.refusal(found)
    if refusal is not None:
        note = PathNote(refusal.path, refusal.reason, Because("", "", path))
        {"socket": supply.ledger.sockets}.get(refusal.kind, supply.ledger.denied)[refusal.path] = note
        return True
    supply.bring(found)
    supply.note(found, origin, None, None, via=via)
    if whole:
        include(supply, path)
    return True


def _assembled(host: HostRoot, ledger: Ledger, program: str, options: TrialOptions, kept: tuple[str, ...]) -> Manifest:
    command = _command(host, program, options)
    packages = packages_of(host, ledger.entries)
    shape = Shape(
        command, os.path.abspath(options.jail), (), Keep.ALL if options.accounts == "all" else Keep.USED,
        frozenset((command.uid,)), frozenset((command.gid, *command.groups)), frozenset(kept),
    )
    return with_packages(host, assemble(host, ledger, Outcome(), shape, ()), packages())


# --- from a jail ------------------------------------------------------------------------------------------------------


def _entry(root: HostRoot, node: HostNode, first: dict[tuple[int, int], str]) -> Entry:
    is_file = node.type is EntryType.FILE
    content = MADE.get(node.path, Content.HOST) if is_file else Content.HOST
    digest, size = _digest(root, node.path) if is_file and not node.virtual else ("", 0)
    linked = first.setdefault(node.inode, node.path) if is_file and node.links > 1 else node.path
    return Entry(
        path=node.path, type=node.type, mode=0o777 if node.type is EntryType.SYMLINK else node.mode, uid=node.uid, gid=node.gid,
        origin=Origin.INCLUDE, size=size, sha256=digest, content=content,
        mtime_ns=node.mtime_ns if is_file and content is Content.HOST else 0, target=node.target, device=node.device,
        xattrs=xattrs(root, node.path) if is_file else (), hard_link="" if linked == node.path else linked,
    )


def _deny(root: HostRoot, ledger: Ledger, allows: tuple[str, ...]) -> None:
    """What no jail gets without --allow is none of the manifest's either, nor are set-ID bits."""
    for path, entry in ledger.entries.items():
        node = inspect(root, entry.path)
        if node is None or node.type is EntryType.DIRECTORY or node.virtual:
            continue
        verdict = judge(entry.path, node, read_start(root, entry.path, _START) if node.type is EntryType.FILE else b"", allows)
        if not verdict.allowed:
            ledger.denied[path] = PathNote(path, verdict.reason, Because("", "", path))
        elif node.type is EntryType.FILE:
            ledger.entries[path] = replace(entry, mode=verdict.mode)


def _leave_out(ledger: Ledger, paths: set[str]) -> None:
    for path in paths:
        ledger.entries.pop(path, None)
    for path, entry in ledger.entries.items():
        if entry.hard_link in paths:
            ledger.entries[path] = replace(entry, hard_link="")


def _digest(root: HostRoot, path: JailPath) -> tuple[str, int]:
    source = open_source(root, path)
    try:
        return digest_of(source)
    finally:
        os.close(source)


def _accounts_in(root: HostRoot) -> Accounts:
    found = []
    for name in ("passwd", "group"):
        text = read_start(root, JailPath(f"/etc/{name}"), _LARGEST)
        words = [line.partition(b":")[0] for line in text.splitlines() if b":" in line and line[:1] not in (b"+", b"-", b"#")]
        found.append(tuple(sorted({os.fsdecode(word) for word in words if word})))
    return Accounts(users=found[0], groups=found[1])


def _not_the_hosts(root: HostRoot, host: HostRoot, ledger: Ledger, kept: Accounts) -> list[str]:
    """The files whose bytes, and the links whose targets, are others on the host or not there. What would be made
    otherwise than it is is no made one."""
    give = contents_of(host, ledger.entries.values(), kept)
    others = []
    for path, entry in sorted(ledger.entries.items()):
        node = inspect(host, entry.path)
        if entry.type is EntryType.SYMLINK:
            if node is None or node.target != entry.target:
                others.append(path)
        elif entry.type is EntryType.FILE and entry.content is not Content.LD_CACHE:
            if entry.content is not Content.HOST and not _gives(give, entry):
                entry = ledger.entries[path] = replace(entry, content=Content.HOST)
            if entry.content is Content.HOST and (node is None or not _gives(give, entry)):
                others.append(path)
    return others


def _gives(give: Contents, entry: Entry) -> bool:
    try:
        source = give(entry)
    except TracejailError:
        return False
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest() == entry.sha256
    try:
        return digest_of(source)[0] == entry.sha256
    finally:
        os.close(source)
