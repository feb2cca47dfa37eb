"""The use case `audit`: the facts of a jail and its surroundings, and what the rules make of them. It changes nothing."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tracejail.audit.advisory import Package, Vulnerability, read
from tracejail.audit.facts import Above, Daemon, Facts, Item, Listener, Mounted, Unseen
from tracejail.audit.outward import KERNELS
from tracejail.audit.rules import ABOUT, weaknesses
from tracejail.audit.weakness import Weakness, score
from tracejail.errors import InputOutputError, UsageError
from tracejail.kernel.mountinfo import holds, mount_lines, shown_at
from tracejail.kernel.unix_sockets import listeners
from tracejail.manifest import read_manifest, select
from tracejail.model import EntryType, JailPath, Manifest
from tracejail.resolve.host import HostRoot, inspect, open_host_root, read_start
from tracejail.resolve.package_facts import os_release
from tracejail.resolve.packages import owners, sources
from tracejail.resolve.policy import secret
from tracejail.searched import KnownTools, Search
from tracejail.survey import Survey
from tracejail.trial.mounted import jail_mounts
from tracejail.trial.target import find_identity

_LARGEST = 256 << 20    # bytes of advisories
_STATUS = JailPath("/var/lib/dpkg/status")


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """What `audit` is told. `target` is a jail's directory, or a manifest."""

    target: str
    manifest: str = ""
    user: str = ""
    host_root: str = ""
    advisories: str = ""
    release: str = ""
    threshold: int = 0
    ignored: tuple[str, ...] = ()    # RULE or RULE:GLOB


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What audit came to."""

    facts: Facts
    found: tuple[Weakness, ...]
    score: int
    status: int                 # of the command
    seconds: float


def appraise(options: AuditOptions) -> Appraisal:
    """Raises UsageError, ManifestError, InputOutputError."""
    began = time.monotonic()
    ignored = tuple(map(_ignored, options.ignored))
    facts = gather(options)
    found = tuple(
        each for each in weaknesses(facts)
        if not any(each.rule == rule and fnmatch.fnmatchcase(each.path, glob) for rule, glob in ignored)
    )
    total = score(found)
    return Appraisal(facts, found, total, int(total > options.threshold), time.monotonic() - began)


def _ignored(word: str) -> tuple[str, str]:
    rule, colon, glob = word.partition(":")
    if rule not in ABOUT:
        raise UsageError(f"--ignore {word}: there is no such rule", "each finding ends with the name of its rule, in brackets")
    if colon and not glob:
        raise UsageError(f"--ignore {word}: the paths are missing", f"{rule}:GLOB, or {rule} alone for all of them")
    return rule, glob or "*"


def gather(options: AuditOptions) -> Facts:
    """All that can be known of a jail without a run in it. Raises UsageError, ManifestError, InputOutputError."""
    directory, path = _named(options)
    manifest = select(read_manifest(path)) if path else None
    jail = os.path.realpath(directory or (manifest.jail if manifest else ""))
    if not os.path.isdir(jail):
        raise UsageError(f"{jail}: no such jail", "name its directory, or a manifest whose jail is built")
    if jail == "/":
        raise UsageError("/: is the host itself, and no jail", "name the directory of a jail")
    root = open_host_root(jail)
    # The tree that it was learned from may be a mount that is gone; its user's names are then those of this host.
    learned_from = manifest.host.root if manifest and os.path.isdir(manifest.host.root) else "/"
    host = open_host_root(options.host_root or learned_from)
    daemon = _daemon(host, options, manifest)
    release = os_release(host)
    codename = options.release or release.get("VERSION_CODENAME", "")
    advisories = _advisories(options.advisories, codename) if options.advisories else {}
    tools = KnownTools(host)
    tools.gather()
    survey = Survey(Search(tools, secret, host if _is_alike(os_release(root), release) else None))
    survey.walk(root)
    items = tuple(survey.items)
    mounts = tuple(_mounts(jail))
    return Facts(
        jail=jail,
        items=items,
        manifest=manifest,
        manifest_path=path,
        daemon=daemon,
        mounts=mounts,
        above=tuple(_above(jail)),
        listeners=tuple(_listeners(items, root)),
        on_root=os.stat(jail).st_dev == os.stat("/").st_dev,
        on_host=frozenset(_on_host(host, items)),
        packages=_packages(host, root, items, manifest) if advisories else (),
        advisories=advisories,
        clipped=(*survey.clipped, *_behind(mounts, items)),
    )


def _named(options: AuditOptions) -> tuple[str, str]:
    """The directory and the manifest, "" for what is not named nor found."""
    target = options.target
    if not os.path.isdir(target):
        if options.manifest:
            raise UsageError(f"{target}: no such jail", "name its directory, or a manifest alone")
        if not os.path.exists(target):
            raise UsageError(f"{target}: no such jail or manifest", "name the directory of a jail, or a manifest")
        _regular(target)
        return "", target
    if options.manifest:
        _regular(options.manifest)
    beside = f"{os.path.realpath(target)}.json"
    return target, options.manifest or (beside if os.path.isfile(beside) else "")


def _regular(path: str) -> None:
    # A FIFO or a terminal would let it wait for ever.
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise UsageError(f"{path}: is no regular file", "name a file")


def _is_alike(own: Mapping[str, str], host: Mapping[str, str]) -> bool:
    """Whether files of a jail can be compared with the host's: it does not say that it is another system."""
    return not own or all(own.get(key) == host.get(key) for key in ("ID", "VERSION_ID"))


def _daemon(host: HostRoot, options: AuditOptions, manifest: Manifest | None) -> Daemon | None:
    if options.user:
        user = find_identity(host, options.user)
        # Root writes to all: whom the program is to become is not known.
        return Daemon(user.uid, frozenset((user.gid, *user.groups))) if user.uid else None
    if manifest is not None and manifest.command.uid:
        return Daemon(manifest.command.uid, frozenset((manifest.command.gid, *manifest.command.groups)))
    return None


def _mounts(jail: str) -> Iterator[Mounted]:
    outside = {line.device for line in mount_lines() if not holds(jail, line.point)}
    # The parts of file systems that are the jail's: a place that is mounted on itself, to have other flags, is its own still.
    first, _ = shown_at(jail, mount_lines())
    parts = [(first.device, f"{first.root.rstrip('/')}{jail[len(first.point.rstrip('/')) :]}", "")] if first else []
    for line in jail_mounts(jail):
        own = any(line.device == device and line.root == root + line.point[len(point) :] for device, root, point in parts
                  if line.point.startswith(f"{point}/"))
        shared = not own and (line.root != "/" or line.type == "devtmpfs" or line.device in outside)
        if not shared and line.point != "/":
            parts.append((line.device, line.root.rstrip("/"), line.point))
        yield Mounted(line.point, line.type, line.flags, line.source, line.root, shared)


def _behind(mounts: Iterable[Mounted], items: Iterable[Item]) -> Iterator[Unseen]:
    """What is mounted where the kernel's own objects are, which are not looked at."""
    foreign = frozenset(item.path for item in items if item.foreign)
    for mount in mounts:
        if mount.type not in KERNELS and any(mount.path.startswith(f"{path}/") for path in foreign):
            yield Unseen(mount.path, f"it is mounted beneath what the kernel makes up ({mount.type})", "umount it", True)


def _above(jail: str) -> Iterator[Above]:
    at = ""
    for name in ("", *jail.strip("/").split("/")):
        at = f"{at.rstrip('/')}/{name}"
        status = os.stat(at)
        yield Above(at, status.st_uid, stat.S_IMODE(status.st_mode))


def _listeners(items: Iterable[Item], root: HostRoot) -> Iterator[Listener]:
    """Of the jail's sockets those on which a process listens that has another root directory."""
    sockets = {(item.inode[0], item.inode[1] & 0xFFFFFFFF): item.path for item in items if item.type is EntryType.SOCKET}
    if not sockets:
        return
    own = os.fstat(root.fd)
    for file, process in listeners(frozenset(sockets)).items():
        with contextlib.suppress(OSError):
            status = os.stat(f"/proc/{process}/root/")
            place = os.readlink(f"/proc/{process}/root")
            if (status.st_dev, status.st_ino) == (own.st_dev, own.st_ino) or f"{place}/".startswith(f"{root.path}/"):
                continue
            with open(f"/proc/{process}/comm", encoding="utf-8", errors="surrogateescape") as stream:
                yield Listener(sockets[file], process, stream.read().rstrip("\n"))


def _on_host(host: HostRoot, items: Iterable[Item]) -> Iterator[str]:
    for target in {item.target for item in items if item.type is EntryType.SYMLINK and item.target.startswith("/")}:
        with contextlib.suppress(InputOutputError, OSError):
            if inspect(host, JailPath(os.path.normpath(target))) is not None:
                yield target


def _advisories(path: str, release: str) -> dict[str, tuple[Vulnerability, ...]]:
    if not release:
        raise UsageError("--advisories: it is not known of which release the packages are", "--release NAME, as bookworm")
    _regular(path)
    try:
        with open(path, "rb") as stream:
            document = json.loads(stream.read(_LARGEST))
    except OSError as error:
        raise UsageError(f"{path}: {os.strerror(error.errno or 0)}", "name a file that can be read") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: is no JSON", "as the security tracker of Debian has it, whole") from None
    return read(document, release)


def _packages(host: HostRoot, root: HostRoot, items: Iterable[Item], manifest: Manifest | None) -> tuple[Package, ...]:
    """By the manifest's entries; else by the jail's own list of what is installed in it; else by the host's lists."""
    if manifest is not None:
        known = {(entry.package, entry.version) for entry in manifest.entries if entry.package}
        by_package: dict[tuple[str, str], list[str]] = {}
        for entry in manifest.entries:
            if entry.package and entry.type is EntryType.FILE:
                by_package.setdefault((entry.package, entry.version), []).append(entry.path)
        of = sources(host)
        return tuple(
            _package(name, version, of, by_package.get((name, version), [])) for name, version in sorted(known)
            if (name, version) in by_package
        )
    own = bool(read_start(root, _STATUS, 1))
    # A file that is another than the host's is of no version that the host's lists know.
    files = [item.path for item in items if item.type is EntryType.FILE and (own or not item.contents.stale)]
    base = root if own else host
    of, by_package = sources(base), {}
    for path, owner in sorted(owners(base, files).items()):
        by_package.setdefault(owner, []).append(path)
    return tuple(_package(name, version, of, paths, own) for (name, version), paths in sorted(by_package.items()))


def _package(
    name: str, version: str, of: Mapping[tuple[str, str], tuple[str, str]], paths: list[str], inside: bool = False
) -> Package:
    plain = name.partition(":")[0]
    source, source_version = of.get((plain, version), (plain, version))
    return Package(name, version, source, source_version, tuple(paths), inside)
