"""Ways out of the jail: sockets, links, mounts, files that it shares with the host, and directories above it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from tracejail.model import EntryType

from . import cure
from .facts import Above, Facts, Item, Mounted
from .remedy import quoted
from .table import SOCKETS
from .weakness import Severity, Weakness

_SOCKETS = tuple((re.compile(rf"(?:.*/)?(?:{pattern})"), who, Severity[bad.upper()]) for pattern, who, bad in SOCKETS)
_STICKY, _OTHERS = 0o1000, 0o022
_DEEPEST = 4   # names of a path that an expression is about
_KERNELS: dict[str, tuple[Severity, str]] = {
    "proc": (Severity.MEDIUM, "it tells of all processes, and root writes the kernel's settings there"),
    "sysfs": (Severity.MEDIUM, "it tells of the hardware, and root changes devices there"),
    "debugfs": (Severity.HIGH, "root reaches the kernel's insides there"),
    "tracefs": (Severity.HIGH, "root watches all programs of the host there"),
    "securityfs": (Severity.HIGH, "root changes the rules of security modules there"),
    "cgroup": (Severity.HIGH, "root has the host start a program by its release_agent"),
    "cgroup2": (Severity.MEDIUM, "processes and limits of the host are seen and changed there"),
    "configfs": (Severity.HIGH, "root makes devices of the kernel there"),
    "bpf": (Severity.HIGH, "programs in the kernel are reached there"),
    "binfmt_misc": (Severity.HIGH, "root has the host start a program of his with any other"),
    "efivarfs": (Severity.HIGH, "root changes the firmware there"),
    "devtmpfs": (Severity.HIGH, "all devices of the host are there"),
}
# With those that are of no use to an intruder.
KERNELS = frozenset((*_KERNELS, "devpts", "mqueue", "pstore", "selinuxfs", "hugetlbfs", "rpc_pipefs", "nsfs", "autofs"))
_SYSTEM = ("/etc", "/root", "/home", "/boot", "/usr", "/bin", "/sbin", "/lib", "/var/lib", "/var/run", "/run", "/dev", "/opt",
           "/srv", "/var", "/proc", "/sys")
# Those that hold far more than one program's data: the whole of them is more than is needed.
_WIDE = frozenset(("/", *_SYSTEM))


def sockets(facts: Facts) -> Iterator[Weakness]:
    """Sockets on which somebody outside listens, by their name, by what is bound there, and by who it is."""
    listeners = {listener.path: listener for listener in facts.listeners}
    bound = {mount.path: mount.root for mount in facts.mounts}
    for item in facts.items:
        if item.type is not EntryType.SOCKET:
            continue
        listener = listeners.get(item.path)
        names = (item.path, bound.get(item.path, ""))
        ends = ["/".join(name.split("/")[-_DEEPEST:]) for name in names]   # a path of a jail may be very long
        known = next(
            ((who, severity) for pattern, who, severity in _SOCKETS if any(map(pattern.fullmatch, ends))), None
        )
        if known is not None and known[1] is Severity.INFO:
            continue
        if known is None and listener is None:
            continue
        who, severity = known or ("a process outside of the jail", Severity.MEDIUM)
        evidence = [item.standing]
        if names[1]:
            evidence.append(f"bound there: {names[1]}")
        if listener is not None:
            evidence.append(f"process {listener.process} ({listener.program}) listens")
        out = (f"umount {facts.quoted(item.path)}",) if names[1] else cure.remove(facts, item.path)
        yield Weakness(
            "socket", severity, item.path, f"{item.path} leads out of the jail, to {who}",
            "what listens there is not held by the jail, and does what it is asked", tuple(evidence), out,
        )


def hard_links(facts: Facts) -> Iterator[Weakness]:
    """Files that have more names than the jail knows of."""
    for names in facts.names.values():
        item = facts.by_path[names[0]]
        if item.links <= len(names):
            continue
        yield Weakness(
            "hard-link-out", Severity.MEDIUM, item.path,
            f"{item.path} has {item.links - len(names)} names more outside of the jail"
            f"{', or where it was not looked' if facts.clipped else ''}",
            "who changes it in the jail changes it out there, and an old version with a hole lives on",
            (f"{item.links} links, {len(names)} of them in the jail", item.standing),
            cure.unlinked(facts, names),
        )


def links(facts: Facts) -> Iterator[Weakness]:
    """Symbolic links which lead a program outside, that works in the jail's tree, to a file of the host."""
    for item in facts.items:
        if item.type is not EntryType.SYMLINK or item.foreign:
            continue
        climbs = _climbs(item)
        if not climbs and not (item.target.startswith("/") and item.target in facts.on_host and facts.end(item.path) is None):
            continue
        if item.target.startswith("/proc/") or facts.entries.get(item.path) is not None:
            continue
        yield Weakness(
            "link-out", Severity.LOW, item.path,
            f"{item.path} leads to {item.target}: {'above the root of the jail' if climbs else 'there only on the host'}",
            "a backup, a chown -R or a web server that works on the tree from outside follows it to the host's file",
            (f"{item.path} -> {item.target}",), cure.remove(facts, item.path),
        )


def _climbs(item: Item) -> bool:
    depth = len(posixpath.dirname(item.path).strip("/").split("/")) if posixpath.dirname(item.path) != "/" else 0
    if item.target.startswith("/"):
        return False
    for part in item.target.split("/"):
        depth += -1 if part == ".." else 1 if part not in ("", ".") else 0
        if depth < 0:
            return True
    return False


def mounts(facts: Facts) -> Iterator[Weakness]:
    """Mounts beneath the jail: of the kernel's own file systems, and of the host's directories."""
    wanted = {mount.path for mount in facts.manifest.mounts} if facts.manifest else set()
    for mount in facts.mounts:
        item = facts.by_path.get(mount.path)
        if mount.path == "/" or (item is not None and item.type is EntryType.SOCKET):
            continue
        needed = mount.path in wanted
        evidence = (
            f"type {mount.type}, source {mount.source}{f', of it {mount.root}' if mount.root != '/' else ''} "
            f"({', '.join(sorted(mount.flags & {'ro', 'rw', 'nosuid', 'nodev', 'noexec'}))})",
            *(("the manifest has it",) if needed else ()),
        )
        remedy = (f"umount {facts.quoted(mount.path)}",)
        if mount.type in _KERNELS and mount.type != "devtmpfs":
            severity, reason = _KERNELS[mount.type]
            severity = severity.milder if needed or "ro" in mount.flags else severity
            remedy = ("# the program needs it: the manifest has that mount",) if needed else remedy
            yield Weakness(
                "kernel-mount", severity, mount.path, f"{mount.type} is mounted on {mount.path}", reason, evidence, remedy,
            )
        elif mount.shared:
            yield _bound(facts, mount, evidence, remedy, item)


def _bound(facts: Facts, mount: Mounted, evidence: tuple[str, ...], remedy: tuple[str, ...], item: Item | None) -> Weakness:
    wide = mount.type == "devtmpfs" or mount.root in _WIDE
    closed = "ro" in mount.flags
    written = facts.is_written(mount.path) or any(path.startswith(f"{mount.path}/") for path in facts.written)
    severity = (Severity.HIGH if not closed else Severity.MEDIUM) if wide else Severity.LOW if closed else Severity.MEDIUM
    if item is not None and item.type in (EntryType.CHARACTER, EntryType.BLOCK):
        severity = Severity.LOW     # what device it is another rule says
    more = "more than one program needs" if wide else "shared with the host"
    return Weakness(
        "bind-mount", severity, mount.path,
        f"{mount.root if mount.root != '/' else mount.source} is mounted on {mount.path}: {more}",
        f"what lies there is the host's own{'' if closed else ', and can be changed from the jail'}", evidence,
        remedy if closed or wide or written else (f"mount -o remount,bind,ro {facts.quoted(mount.path)}", *remedy),
    )


def above(facts: Facts) -> Iterator[Weakness]:
    """The jail and the directories above it: sshd_config(5), ChrootDirectory, wants them to be root's alone."""
    for place in facts.above:
        name = quoted(place.path)
        if place.uid:
            yield Weakness(
                "not-roots", Severity.HIGH, place.path,
                f"{place.path} of the host, {_way(facts, place)}, belongs to user {place.uid}",
                "who owns a directory above a jail puts another jail there, with his own libraries in it",
                (f"mode {place.mode:04o}, owner {place.uid}",), (f"chown root -- {name}",), outside=True,
            )
        if place.mode & _OTHERS:
            sticky = bool(place.mode & _STICKY)
            yield Weakness(
                "not-roots", Severity.MEDIUM if sticky else Severity.HIGH, place.path,
                f"{place.path} of the host, {_way(facts, place)}, can be written by others than root"
                f"{', and is sticky' if sticky else ''}",
                "who may write to a directory above a jail puts another jail there, with his own libraries in it",
                (f"mode {place.mode:04o}, owner {place.uid}",),
                ("# move the jail elsewhere: all users need this directory",) if sticky else (f"chmod go-w -- {name}",),
                outside=True,
            )


def _way(facts: Facts, place: Above) -> str:
    return "the jail" if place.path == facts.jail else "above the jail"


def place(facts: Facts) -> Iterator[Weakness]:
    """Where the jail lies: notes."""
    mount = facts.mount_of("/")
    if facts.on_root:
        yield Weakness(
            "on-root-partition", Severity.INFO, "/", "the jail lies on the file system of the host's root directory",
            "who fills the jail fills the host, and hard links to files of the host can be made", (),
            ("# a file system of its own, mounted nosuid,nodev",),
        )
    if mount is not None and "ro" not in mount.flags:
        yield Weakness(
            "not-read-only", Severity.INFO, "/", "the jail's file system can be written to",
            "whoever becomes root in it changes the program", (f"mount {mount.path} type {mount.type}",),
            ("tracejail run --isolate ...   # has the jail read-only, but for what is written",),
        )
    if facts.manifest is not None and facts.manifest.command.uid == 0:
        yield Weakness(
            "starts-as-root", Severity.INFO, "/", f"{facts.manifest.command.argv[0]} is started as root",
            "a chroot does not hold root: it must become another user before it talks to anybody", (),
            ("tracejail run -u USER ...   # if it needs no root",),
        )
