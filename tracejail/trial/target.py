"""What a target is, on the host: the program's path, the user, the trial that it is put into."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tracejail.errors import DeniedError, InputOutputError, KernelLacksError, UsageError
from tracejail.jail.enter import add_device
from tracejail.jail.tree import Attributes, Tree, look, open_tree, set_directory
from tracejail.kernel import capabilities
from tracejail.kernel.mounts import new_mount
from tracejail.model import Content, Entry, EntryType, JailPath, MadeDirectory, Origin, TrialOptions
from tracejail.resolve import accounts
from tracejail.resolve.accounts import REDUCE
from tracejail.resolve.host import ClosedError, HostRoot, inspect, names
from tracejail.resolve.policy import DEVICES
from tracejail.trial.walk import Found, Place, join, walk

from . import rootless
from .interpreters import interpreters
from .ledger import Ledger
from .stand_ins import StandIns
from .supply import MADE, Rules, Supply

_MOUNT_POINTS = {"proc": ("/proc",), "sys": ("/sys",), "devpts": ("/dev/pts", "/dev/ptmx")}
MOUNT_TYPES = {"proc": ("proc", "/proc"), "sys": ("sysfs", "/sys"), "devpts": ("devpts", "/dev/pts")}

_HARMLESS = {f"/dev/{device.name}": (device.major, device.minor) for device in DEVICES}


@dataclass(frozen=True, slots=True)
class User:
    """Whom the target runs as."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()


def resolve_on_host(host: HostRoot, path: str) -> str | None:
    """The real path of an object on the host, all links followed; None if it is not there."""

    def look(at: str) -> Found | None:
        node = inspect(host, JailPath(at))
        return Found(node.type, node.target) if node else None

    found = walk("/", "/", path, True, False, lambda _: None, look)
    return found.path if found.place is Place.FOUND else None


def find_program(host: HostRoot, word: str) -> str:
    """The program that a shell would run for `word`, as an absolute path whose links are kept.

    Raises UsageError: it is not there, is a directory, is not executable, is empty.
    """
    if "/" in word:
        candidates = [word if word.startswith("/") or host.path != "/" else os.path.join(os.getcwd(), word)]
    else:
        search = os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        candidates = [f"{directory}/{word}" for directory in search.split(":") if directory.startswith("/")]
    cause = "No such file or directory"
    for candidate in candidates:
        real = resolve_on_host(host, candidate)
        node = inspect(host, JailPath(real)) if real else None
        if node is None:
            continue
        if node.type is not EntryType.FILE:
            cause = "Is a directory" if node.type is EntryType.DIRECTORY else "Not a regular file"
        elif not node.mode & 0o111:
            cause = "Permission denied (it has no x bit)"
        elif not node.size:
            cause = "The file is empty"
        else:
            return os.path.normpath("/" + candidate.lstrip("/")) if ".." not in candidate else "/" + candidate.lstrip("/")
    where = f" under {host.path}" if host.path != "/" else ""
    raise UsageError(f"{word}: {cause}{where}", "name the program by its full path, or look for it with `command -v`")


def find_identity(host: HostRoot, text: str) -> User:
    """Whom `-u` names: USER[:GROUP[,GROUP...]], names of the host root or numbers. Raises UsageError."""
    return User(*accounts.find_identity(host, text)) if text else User()


def privileges_lack() -> tuple[str, str] | None:
    """Why a trial can't be made by this process, and what to do about it; None if it can."""
    return None if capabilities.SYS_ADMIN in capabilities.effective() else rootless.lacks()


@contextlib.contextmanager
def scratch_tree(most: str = "50%") -> Iterator[Tree]:
    """An empty tree in memory, private to this process: gone with it, whatever ends it. `most` as size of tmpfs(5). Raises
    KernelLacksError."""
    with contextlib.ExitStack() as stack:
        try:
            fd = stack.enter_context(new_mount("tmpfs", {"mode": "0755", "size": most}))
        except OSError as error:
            raise KernelLacksError(f"{error.strerror}", "it takes Linux 5.6 or later") from None
        yield open_tree(fd, "the trial in memory: ", in_memory=True)


def rules_of(options: TrialOptions, mounts: frozenset[str]) -> Rules:
    """The supply's rules from the options."""
    return Rules(options.allows, options.excludes, mounts, options.accounts == "all", options.max_names)


def devices_of(tree: Tree) -> tuple[tuple[str, str], ...]:
    """(device file of the machine, path in the tree) of each device that the tree is to have and could not be given."""
    return tuple((device_file(path, number), path) for path, number in tree.devices.wanted.items())


def bind_from_now_on(tree: Tree, init: int) -> None:
    """A device that a miss asks for, while the stage of `init` is set, is bound there at once where none can be made."""

    def bind(path: str, number: tuple[int, int]) -> None:
        try:
            add_device(init, device_file(path, number), path)
        except OSError as error:
            raise KernelLacksError(f"{path}: {error.strerror}", "call it as root") from None

    tree.devices.bind = bind


def present_devices(root: int) -> tuple[tuple[str, str], ...]:
    """The same for a jail that is there, by a descriptor of its root: those of the harmless devices whose names it has."""
    tree = open_tree(root, "the jail: ", in_memory=True)
    if tree.powers.whole:
        return ()
    return tuple((device_file(path, number), path) for path, number in _HARMLESS.items() if look(tree, path))


def host_devices(host: HostRoot) -> tuple[tuple[str, str], ...]:
    """The same for a host root of which no device can be opened."""
    return tuple((device_file(path, number), path) for path, number in _HARMLESS.items() if inspect(host, JailPath(path)))


def device_file(path: str, number: tuple[int, int]) -> str:
    """Where the machine has a device: at the same path, or where udev(7) puts all. Raises InputOutputError."""
    for place in (path, f"/dev/char/{number[0]}:{number[1]}"):
        with contextlib.suppress(OSError):
            status = os.stat(place)
            if stat.S_ISCHR(status.st_mode) and (os.major(status.st_rdev), os.minor(status.st_rdev)) == number:
                return place
    raise InputOutputError(
        f"{path}: this machine has no device {number[0]}:{number[1]} there to bind, and without root none can be made",
        "call it as root",
    )


def put_base(supply: Supply) -> None:
    """What every jail has: the harmless devices. A shell's `>/dev/null` would make a file there without them."""
    if not supply.rules.excludes or not supply.excluded("/dev"):
        supply.put(Entry(JailPath("/dev"), EntryType.DIRECTORY, 0o755, 0, 0, Origin.BASE))
        for device in DEVICES:
            path = JailPath(f"/dev/{device.name}")
            number = (device.major, device.minor)
            kind = EntryType.CHARACTER
            supply.put(Entry(path, kind, device.mode, 0, 0, Origin.BASE, device=number))


def _service_directory(supply: Supply, made: MadeDirectory) -> None:
    """A directory that the service manager makes before each start, and what is above it. Raises InputOutputError."""
    above = made.path.rpartition("/")[0] or "/"
    found = supply.resolve("/", "/", above, follow=True)
    if found.place is Place.FOUND:
        supply.bring(found)
        supply.note(found, Origin.PARENT, None, None)
    else:
        _service_directory(supply, MadeDirectory(JailPath(above)))
    path = JailPath(join(supply.resolve("/", "/", above, follow=True).path, made.path.rpartition("/")[2]))
    attributes = Attributes(made.mode, made.uid, made.gid)
    entry = Entry(path, EntryType.DIRECTORY, made.mode, made.uid, made.gid, Origin.SERVICE)
    if path in supply.supplied:
        set_directory(supply.tree, path, attributes)
        supply.supplied[path] = replace(supply.supplied[path], mode=made.mode, uid=made.uid, gid=made.gid)
        supply.ledger.entries.pop(path, None)
    supply.put(entry)


def _socket_directory(supply: Supply, path: str) -> None:
    """Where a socket is bound: the host's directory, and where it has none, one as the service manager would make it."""
    if supply.resolve("/", "/", path, follow=True).place is Place.FOUND:
        _put(supply, path, Origin.SERVICE)
    else:
        _service_directory(supply, MadeDirectory(JailPath(path)))


def place(supply: Supply, program: str, options: TrialOptions) -> None:
    """Put into a trial what is there before the target runs: devices, program, directory, includes, mount points.

    Raises DeniedError, InputOutputError, UsageError.
    """
    put_base(supply)
    _put(supply, program, Origin.ARGV)
    while interpreters(supply, supply.resolve("/", "/", program, True).path, "/", "/", None, bring=True):
        pass
    for made in options.service.directories:
        _service_directory(supply, made)
    for address in options.service.sockets:
        if address.startswith("unix:"):
            _socket_directory(supply, address.removeprefix("unix:").rpartition("/")[0] or "/")
    if options.directory != "/":
        _put(supply, options.directory, Origin.ARGV)
    put_mount_points(supply)
    for path in options.includes:
        include(supply, path)


def put_mount_points(supply: Supply) -> None:
    """What the mounts of its rules lie on. Raises UsageError where the host has it not."""
    for mount in sorted(supply.rules.mounts):
        for path in _MOUNT_POINTS[mount]:
            _put(supply, path, Origin.BASE)


def _put(supply: Supply, path: str, origin: Origin) -> None:
    found = supply.resolve("/", "/", path, follow=True)
    if found.place is not Place.FOUND:
        raise UsageError(f"{path}: No such file or directory on the host", "name something that is there")
    refusal = supply.refusal(found)
    if refusal is not None:
        raise DeniedError(f"{refusal.path}: {refusal.reason}", f"--allow {refusal.path} lets it in")
    supply.bring(found)
    supply.note(found, origin, None, None)


def include(supply: Supply, path: str) -> None:
    """A path of `--include`, with all that is beneath it; what the policy denies beneath it is left out."""
    if not path.startswith("/"):
        raise UsageError(f"--include {path}: not an absolute path", "give it as it is named on the host")
    _put(supply, path, Origin.INCLUDE)
    pending = [supply.resolve("/", "/", path, follow=True).path]
    while pending:
        directory = pending.pop()
        node = inspect(supply.host, JailPath(directory))
        if node is None or node.type is not EntryType.DIRECTORY or node.virtual:
            continue
        try:
            beneath = names(supply.host, JailPath(directory))
        except ClosedError:
            supply.warnings[f"{directory}: this user may not read its names on the host; nothing in it was included"] = None
            continue
        for name in beneath:
            child = join(directory, name)
            found = supply.resolve("/", "/", child, follow=False)
            if found.place is Place.FOUND and not (refusal := supply.refusal(found)):
                supply.bring(found)
                supply.note(found, Origin.INCLUDE, None, None)
                pending.append(child)
            elif refusal and refusal.kind == "denied":
                supply.warnings[f"{child} was not included: {refusal.reason}"] = None


def new_supply(host: HostRoot, tree: Tree, rules: Rules, watch: StandIns | None = None) -> Supply:
    """A supply for an empty tree."""
    # What is made for a jail is known by its real path: /etc/nsswitch.conf may be a link, as authselect(8) makes it.
    made = [(resolve_on_host(host, path) or path, content) for path, content in MADE.items()]
    known = {path: content for path, content in made if content is not Content.ACCOUNTS or os.path.basename(path) in REDUCE}
    return Supply(host, tree, rules, Ledger(), known, watch=watch)


def caller_environment(given: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The target's environment: the caller's, as chroot(1) passes it, and what -E says."""
    return {**os.environ, **dict(given)}
