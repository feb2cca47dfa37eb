"""What no manifest may say. A manifest is input like any other: a hostile one is refused, in words."""

from __future__ import annotations

from collections.abc import Iterable

from tracejail.model import Content, Entry, EntryType, MadeDirectory, Manifest, PathNote, Written

_LARGEST_FILE = 1 << 50  # bytes of a file that an entry may claim
_MOST_ID = (1 << 32) - 2
_MOUNTS = {"proc": "/proc", "sysfs": "/sys", "devpts": "/dev/pts"}
_Tree = dict[str, Entry]


class Wrong(Exception):
    """What is wrong, in words."""


def check(manifest: Manifest) -> None:
    """Raises Wrong."""
    for entry in manifest.entries:
        _check_entry(entry)
    _check_merged(manifest)
    _check_trees(manifest)
    for command in (manifest.command, *(row.command for row in manifest.merged)):
        if not command.argv:
            raise Wrong("command: no program")
        _check_places(command.service.directories)
        if not all(0 <= number <= _MOST_ID for number in (command.uid, command.gid, *command.groups)):
            raise Wrong("command: no such user or group can be")
        if not -1 <= command.service.umask <= 0o777:
            raise Wrong("command: service: no such umask can be")
    _check_places(manifest.written)
    for mount in manifest.mounts:
        if _MOUNTS.get(mount.type) != mount.path:
            raise Wrong(f"mount of {mount.type} on {mount.path}: not one that a jail may ask for")


def _check_merged(manifest: Manifest) -> None:
    labels = {row.label for row in manifest.merged}
    if len(labels) < len(manifest.merged) or "" in labels:
        raise Wrong("merged: a host without a label of its own")
    if manifest.merged:
        first = manifest.merged[0]
        if (first.host, first.command, first.jail) != (manifest.host, manifest.command, manifest.jail):
            raise Wrong(f"merged: {first.label} is the first host, and the manifest's own fields are of another")
    rows: tuple[Entry | Written | PathNote, ...] = (
        *manifest.entries, *manifest.written, *manifest.absent, *manifest.denied, *manifest.sockets
    )
    for row in rows:
        if row.hosts and (len(set(row.hosts)) < len(row.hosts) or not labels.issuperset(row.hosts)):
            raise Wrong(f"{row.path}: hosts that the manifest was not merged from")


def _check_trees(manifest: Manifest) -> None:
    """What is alike on all hosts and what is of one of them are a tree together, for each host."""
    common: _Tree = {}
    own: dict[str, _Tree] = {row.label: {} for row in manifest.merged}
    for entry in manifest.entries:
        for tree in [own[label] for label in entry.hosts] or [common]:
            if entry.path in tree:
                raise Wrong(f"{entry.path}: twice")
            tree[entry.path] = entry
    for label, tree in own.items():
        for path in tree.keys() & common.keys():
            raise Wrong(f"{path}: twice on {label}")
    loose = []
    for entry in common.values():
        if own and not _rests_on(common, entry):
            loose.append(entry)  # on what differs between the hosts
        else:
            _check_place(entry, common, common)
    for tree in own.values():
        for entry in (*loose, *tree.values()):
            _check_place(entry, tree, common)


def _rests_on(tree: _Tree, entry: Entry) -> bool:
    above = entry.path.rpartition("/")[0]
    return (not above or above in tree) and (not entry.hard_link or entry.hard_link in tree)


def _check_place(entry: Entry, tree: _Tree, common: _Tree) -> None:
    path = entry.path.rpartition("/")[0]
    above = tree.get(path) or common.get(path)
    if above is not None and above.type is not EntryType.DIRECTORY:
        raise Wrong(f"{entry.path}: lies beneath {above.path}, which is no directory")
    if path and above is None:
        raise Wrong(f"{entry.path}: the directory above it is not in the manifest")
    if entry.hard_link:
        first = tree.get(entry.hard_link) or common.get(entry.hard_link)
        if first is None or first.type is not EntryType.FILE or first.hard_link:
            raise Wrong(f"{entry.path}: a hard link to what is no file of the manifest")


def _check_places(places: Iterable[Written | MadeDirectory]) -> None:
    for place in places:
        if place.path != "/" and not _is_normal(place.path):
            raise Wrong(f"{place.path!r}: not a normal absolute path")
        if not 0 <= place.mode <= 0o7777 or not (0 <= place.uid <= _MOST_ID and 0 <= place.gid <= _MOST_ID):
            raise Wrong(f"{place.path}: no such mode or owner can be")


def _is_normal(path: str) -> bool:
    if not path.startswith("/") or path.endswith("/") or "//" in path or len(path) >= 65536:
        return False
    return "/." not in path or not {".", ".."} & set(path.split("/"))


def _check_entry(entry: Entry) -> None:
    if not _is_normal(entry.path):
        raise Wrong(f"{entry.path!r}: not a normal absolute path")
    if not 0 <= entry.mode <= 0o7777:
        raise Wrong(f"{entry.path}: mode {entry.mode:o}")
    if not (0 <= entry.uid <= _MOST_ID and 0 <= entry.gid <= _MOST_ID):
        raise Wrong(f"{entry.path}: no such owner can be")
    if not -(1 << 63) <= entry.mtime_ns < 1 << 63:
        raise Wrong(f"{entry.path}: no such time can be")
    if not 0 <= entry.size <= _LARGEST_FILE:
        raise Wrong(f"{entry.path}: a size of {entry.size} bytes")
    if entry.sha256 and (len(entry.sha256) != 64 or entry.sha256.strip("0123456789abcdef")):
        raise Wrong(f"{entry.path}: sha256 is no digest")
    if entry.type is EntryType.SYMLINK and (not entry.target or len(entry.target) >= 4096):
        raise Wrong(f"{entry.path}: a link without a sound target")
    is_device = entry.type in (EntryType.CHARACTER, EntryType.BLOCK)
    if is_device != (entry.device is not None):
        raise Wrong(f"{entry.path}: a device number belongs to a device, and only to one")
    if entry.device is not None and not all(0 <= number < 1 << 20 for number in entry.device):
        raise Wrong(f"{entry.path}: no such device number can be")
    if entry.content is not Content.HOST and entry.type is not EntryType.FILE:
        raise Wrong(f"{entry.path}: only a file has content")
    for name, value in entry.xattrs:
        if len(value) % 2 or value.strip("0123456789abcdef") or not name:
            raise Wrong(f"{entry.path}: extended attribute {name!r}")
