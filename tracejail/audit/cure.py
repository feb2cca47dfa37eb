"""Remedies that change or remove an object of the jail: each command is made here, so that none reaches past the jail."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from tracejail.model import EntryType

from .facts import Facts, Item, Mounted

_OTHERS, _WRITERS = 0o002, 0o022
STOP = "# stop the program first: others than root can write to a directory above it"


def change(facts: Facts, command: str, *paths: str) -> tuple[str, ...]:
    """A command for objects in their places, as chmod; no command for what is, under another name, an object of the host."""
    for path in paths:
        mount = host_mount(facts, path)
        if mount is not None:
            return (_hosts_own(facts, mount),)
        if _has_name_outside(facts, path):
            return ("# it has another name outside of the jail, which would be changed too: see hard-link-out",)
    return (*stop(facts, *paths), f"{command} {facts.quoted(*paths)}")


def remove(facts: Facts, *paths: str) -> tuple[str, ...]:
    """The command that removes objects of the jail; of what is mounted there the mount alone."""
    held = {path: host_mount(facts, path) for path in paths}
    said = [
        f"umount {facts.quoted(mount.path)}" if mount.path == path and not _is_wanted(facts, mount) else _hosts_own(facts, mount)
        for path, mount in held.items() if mount is not None
    ]
    own = tuple(path for path, mount in held.items() if mount is None)
    # rm tells file systems apart and not mounts: it would go on into a directory of its own that is mounted beneath.
    beneath = sorted(
        {mount.path for mount in facts.mounts for path in own if mount.path.startswith(f"{path}/")}, reverse=True
    )
    out = "".join(f"umount {facts.quoted(path)} && " for path in beneath)
    last = (*stop(facts, *own), f"{out}rm -rf --one-file-system -- {facts.quoted(*own)}") if own else ()
    return (*dict.fromkeys(said), *last)


def taken(facts: Facts, item: Item) -> tuple[str, ...]:
    """What takes the right to write away from whom `Facts.writer` names, and leaves the right to read."""
    daemon, commands = facts.daemon, list[str]()
    if item.uid and (daemon is None or item.uid == daemon.uid):
        commands += change(facts, "chown -h root --", item.path)
        wanted = 5 if item.type is EntryType.DIRECTORY else 4
        by_group = item.mode >> 3 & wanted == wanted and (daemon is None or item.gid in daemon.groups)
        if not by_group and item.mode & wanted != wanted:
            commands.append("# only its owner could read it: give it the program's group, and that group the right to read")
    if item.mode & 0o020 and item.gid and (daemon is None or item.gid in daemon.groups):
        commands += change(facts, "chmod g-w --", item.path)
    theirs = [grant for grant in item.grants
              if daemon is None or grant.user == daemon.uid or grant.group in daemon.groups]
    if theirs:
        words = ",".join(f"u:{grant.user}" if grant.user >= 0 else f"g:{grant.group}" for grant in theirs)
        commands += change(facts, f"setfacl -x {words} --", item.path)
    if item.mode & _OTHERS:
        commands += change(facts, "chmod o-w --", item.path)
    return tuple(dict.fromkeys(commands))


def unlinked(facts: Facts, names: list[str]) -> tuple[str, ...]:
    """What gives the names that the jail knows a file of their own."""
    first, *others = names
    for path in names:
        mount = host_mount(facts, path)
        if mount is not None:
            return (_hosts_own(facts, mount),)
    if stop(facts, *names):
        # Who can write there puts a link in the way of each name that is made.
        return ("# stop the program first, then move it away, and copy it back to its place",)
    # A name in a fresh directory, as one that was there already may lead anywhere.
    above = facts.quoted(posixpath.dirname(first))
    lines = [f'new=$(mktemp -d -p {above} .tracejail.XXXXXX) && cp -aT -- {facts.quoted(first)} "$new/copy" && '
             f'mv -fT -- "$new/copy" {facts.quoted(first)} && rmdir -- "$new"']
    lines += [f"ln -fT -- {facts.quoted(first)} {facts.quoted(path)}" for path in others]
    return (" && ".join(lines),)


def stop(facts: Facts, *paths: str) -> tuple[str, ...]:
    """A line to be said before a command, where a path can be exchanged by an intruder while it is at work."""
    return (STOP,) if any(_is_open_above(facts, path) for path in paths) else ()


def host_mount(facts: Facts, path: str) -> Mounted | None:
    """The mount of the host's own files that a path lies on; None for what is the jail's."""
    mount = facts.mount_of(path)
    return mount if mount is not None and mount.shared and mount.path != "/" else None


def _hosts_own(facts: Facts, mount: Mounted) -> str:
    way = "the manifest has that mount" if _is_wanted(facts, mount) else f"umount {facts.quoted(mount.path)}"
    return f"# it is the host's own, and mounted on {facts.quoted(mount.path)}: {way}"


def _is_wanted(facts: Facts, mount: Mounted) -> bool:
    return facts.manifest is not None and any(each.path == mount.path for each in facts.manifest.mounts)


def _has_name_outside(facts: Facts, path: str) -> bool:
    item = facts.by_path.get(path)
    return item is not None and item.type is EntryType.FILE and item.links > max(1, len(facts.names.get(item.inode, ())))


def _is_open_above(facts: Facts, path: str) -> bool:
    return any(facts.writer(item) or item.mode & _OTHERS for item in facts.above_of(path)) or _is_open_root(facts)


def _is_open_root(facts: Facts) -> bool:
    return any(place.path == facts.jail and (place.uid or place.mode & _WRITERS) for place in facts.above)


def closed(facts: Facts, item: Item) -> Iterator[str]:
    """What keeps a secret that the program reads from those who do not start it."""
    user = facts.daemon.uid if facts.daemon is not None else 0
    if user:
        yield f"# the program reads it as user {user}, and so does who breaks in: learn without --allow, or have it read by root"
        if item.mode & 0o007:
            yield from change(facts, "chmod o-rwx --", item.path)
        return
    yield from change(facts, "chown -h root:root --", item.path)
    yield from change(facts, "chmod 0600 --", item.path)
    yield "# if the program reads it as root, before it becomes another user; else learn without --allow"
