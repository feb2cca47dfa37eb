"""/dev, and what only a mount brings: /proc, /sys, /dev/pts."""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterable, Iterator

from tracejail.model import EntryType

from .consequence import fatal, matters, weighed
from .facts import GONE, REFUSED, Call, Facts, Node
from .finding import Action, Confidence, Finding, Kind
from .remedies import make_directory

_DEVICES = (EntryType.CHARACTER, EntryType.BLOCK)
_TERMINALS = (5, 2)             # ptmx: it is of use with the devpts beside it only
_KERNELS = {"proc": "proc", "sys": "sysfs", "sysfs": "sysfs"}   # by the name of Node.foreign: the type for mount(8)
_OWN = ("/proc/self", "/proc/thread-self")


def missing(facts: Facts) -> Iterator[Finding]:
    """A device that was looked for, and a regular file that was made in its place."""
    for path, calls in _by_path(facts.failed(*GONE)).items():
        device = _device(facts, path)
        if device is None or facts.jail.way(path).found is not None:
            continue
        confidence, quiet = weighed(facts, calls)
        if quiet and fatal(facts, calls):
            confidence = Confidence.LIKELY  # of a child, which ended badly with it
        yield Finding(
            "device", confidence, path, f"{path}, a device, is not in the jail", _make(facts, device), tuple(calls),
            evidence=(_numbers(device),), weight=15, quiet=quiet,
        )
    made = _by_path(
        call for call in facts.calls() if not call.failed and call.opens and call.record.flags & os.O_CREAT
    )
    for path, calls in made.items():
        link = facts.host.node(path)
        if link is not None and link.type is EntryType.SYMLINK and link.target.startswith("/proc/"):
            if facts.jail.node(path) is None:
                yield _link_made_file(facts, link, calls)
            continue
        device = _device(facts, path)
        if device is None or facts.jail.way(path).found is not None:
            continue
        yield Finding(
            "device-made-file", Confidence.LIKELY, path,
            f"{path}, a device, is not in the jail: {calls[0].record.program} made a regular file of that name, and keeps "
            "in it what was to be thrown away",
            _make(facts, device), tuple(calls), evidence=(_numbers(device),), quiet=True,
        )


def _link_made_file(facts: Facts, link: Node, calls: list[Call]) -> Finding:
    mount = () if _mounted(facts, "/proc") else (Action(Kind.MOUNT, "/proc", text="proc"),)
    return Finding(
        "device-made-file", Confidence.LIKELY, link.path,
        f"{link.path}, a link to {link.target} on the host, is not in the jail: {calls[0].record.program} made a regular file of "
        "that name, which nobody reads",
        (*make_directory(facts, posixpath.dirname(link.path)), Action(Kind.LINK, link.path, text=link.target), *mount),
        tuple(calls), quiet=True,
    )


def replaced(facts: Facts) -> Iterator[Finding]:
    """A name of /dev that is another thing than the host has there: the tree alone shows it."""
    for name in facts.jail.names("/dev"):
        path = f"/dev/{name}"
        here, host = facts.jail.node(path), _device(facts, path)
        if here is None or host is None or here.foreign:
            continue
        if here.type is EntryType.FILE:
            message = f"{path} is a regular file in the jail ({here.size} bytes); on the host it is a device"
            yield Finding(
                "device-is-file", Confidence.CERTAIN, path, message,
                (Action(Kind.REMOVE, path), *_make(facts, host)), tuple(_about(facts, path)),
                evidence=(here.standing, _numbers(host)), quiet=not _fails(facts, path),
            )
        elif here.type in _DEVICES and (here.type, here.device) != (host.type, host.device):
            message = f"{path} is another device in the jail than on the host"
            yield Finding(
                "other-device", Confidence.CERTAIN, path, message, (Action(Kind.REMOVE, path), *_make(facts, host)),
                tuple(_about(facts, path)), evidence=(f"in the jail {_numbers(here)}", f"on the host {_numbers(host)}"),
                quiet=not _fails(facts, path),
            )


def nodev(facts: Facts) -> Iterator[Finding]:
    """A device that is there, on a mount where none can be opened."""
    for path, calls in _by_path(facts.failed(*REFUSED)).items():
        found = facts.jail.way(path).found
        mount = facts.mount_of(path)
        opened = [call for call in calls if call.opens]
        if found is None or found.type not in _DEVICES or mount is None or "nodev" not in mount.flags or not opened:
            continue
        where = "the jail's file system" if mount.path == "/" else f"the mount on {mount.path}"
        _, quiet = weighed(facts, opened)
        yield Finding(
            "nodev", Confidence.CERTAIN, mount.path,
            f"{path} lies on {where} ({mount.type}), which is mounted nodev: no device can be opened there",
            (Action(Kind.ADVICE, mount.path, text=f"mount -o remount,dev for {mount.path} of the jail, or a jail elsewhere"),),
            tuple(opened), evidence=(f"mount {mount.path} type {mount.type} ({', '.join(sorted(mount.flags))})",),
            weight=20, quiet=quiet,
        )


def links(facts: Facts) -> Iterator[Finding]:
    """The links of /dev that lead into /proc: fd, stdin, stdout, stderr."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        for above in _beneath(call.path, "/dev"):
            host = facts.host.node(above)
            if host is not None and host.type is EntryType.SYMLINK and host.target.startswith("/proc/"):
                found.setdefault(above, []).append(call)
                break
    for path, calls in found.items():
        host, here = facts.host.node(path), facts.jail.node(path)
        mount = () if _mounted(facts, "/proc") else (Action(Kind.MOUNT, "/proc", text="proc"),)
        if host is None or (here is not None and not mount):
            continue
        confidence, quiet = weighed(facts, calls)
        if here is None:
            made = (*make_directory(facts, posixpath.dirname(path)), Action(Kind.LINK, path, text=host.target))
            message = f"{path}, a link to {host.target} on the host, is not in the jail"
            yield Finding("device-link", confidence, path, message, (*made, *mount), tuple(calls), weight=20, quiet=quiet)
        else:
            message = f"{path} leads to {here.target}, and proc is not mounted in the jail"
            yield Finding("proc", confidence, "/proc", message, mount, tuple(calls), weight=20, quiet=quiet)


def terminals(facts: Facts) -> Iterator[Finding]:
    """A pseudo terminal can't be had although /dev/ptmx is there: its devpts is not."""
    for path, calls in _by_path(facts.failed(-errno.ENODEV, -errno.ENOENT, -errno.EIO, -errno.ENXIO)).items():
        here = facts.jail.way(path).found
        if here is None or here.device != _TERMINALS or _mounted(facts, "/dev/pts"):
            continue
        confidence, quiet = weighed(facts, calls)
        yield Finding(
            "devpts", confidence, "/dev/pts", f"{path} gives no terminal: no devpts is mounted on /dev/pts of the jail",
            (Action(Kind.MOUNT, "/dev/pts", text="devpts"),), tuple(calls), evidence=(_numbers(here),), weight=15, quiet=quiet,
        )


def kernels(facts: Facts) -> Iterator[Finding]:
    """What lies in /proc or /sys, where the jail has none mounted."""
    found: dict[str, list[Call]] = {}
    for call in facts.failed(*GONE):
        top, _ = unmounted(facts, call.path)
        if top and (facts.host.way(call.path).found is not None or _of_a_process(call.path)):
            found.setdefault(top, []).append(call)
    for top, calls in found.items():
        _, kind = unmounted(facts, top)
        confidence, quiet = weighed(facts, calls)
        telling = [call for call in calls if matters(facts, [call])] or calls
        yield Finding(
            kind, confidence, top, f"{telling[0].path} is looked for, and no {kind} is mounted on {top} of the jail",
            (Action(Kind.MOUNT, top, text=kind),), tuple(calls), weight=5, quiet=quiet,
        )


def unmounted(facts: Facts, path: str) -> tuple[str, str]:
    """The place and the type for mount(8) of what the kernel shows at a path, where the jail has not mounted it."""
    top = "/" + path.strip("/").partition("/")[0]
    host = facts.host.way(top).found
    if host is None or host.foreign not in _KERNELS or host.path != top or _mounted(facts, top):
        return "", ""
    return top, _KERNELS[host.foreign]


def _of_a_process(path: str) -> bool:
    return path.startswith(_OWN) or path.split("/")[2:3] != [] and path.startswith("/proc/") and path.split("/")[2].isdigit()


def _mounted(facts: Facts, top: str) -> bool:
    here = facts.jail.way(top).found
    return any(mount.path == top for mount in facts.mounts) or (here is not None and here.foreign != "")


def _device(facts: Facts, path: str) -> Node | None:
    found = facts.host.way(path).found if path.startswith("/dev/") else None
    return found if found is not None and found.type in _DEVICES and found.device is not None else None


def _numbers(node: Node) -> str:
    major, minor = node.device or (0, 0)
    kind = "character" if node.type is EntryType.CHARACTER else "block"
    return f"{node.path}: {kind} device {major}:{minor}, mode {node.mode:04o}"


def _make(facts: Facts, device: Node) -> tuple[Action, ...]:
    above = make_directory(facts, posixpath.dirname(device.path))
    if device.type is EntryType.BLOCK:
        return (Action(Kind.ADVICE, device.path, text=f"{device.path} is a disk: think twice before the jail gets it"),)
    made = Action(Kind.DEVICE, device.path, mode=device.mode, device=device.device or (0, 0))
    if device.device == _TERMINALS and not _mounted(facts, "/dev/pts"):
        return (*above, made, Action(Kind.MOUNT, "/dev/pts", text="devpts"))
    return (*above, made)


def _by_path(calls: Iterable[Call]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.path and not call.executes:
            found.setdefault(call.path, []).append(call)
    return found


def _about(facts: Facts, path: str) -> Iterator[Call]:
    yield from (call for call in facts.failed() if call.path == path)


def _fails(facts: Facts, path: str) -> bool:
    return matters(facts, list(_about(facts, path)))


def _beneath(path: str, top: str) -> Iterator[str]:
    if not path.startswith(top + "/"):
        return
    above = top
    for part in path[len(top) :].strip("/").split("/"):
        above += "/" + part
        yield above
