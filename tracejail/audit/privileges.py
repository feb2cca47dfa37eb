"""What gives more power to whoever runs or opens it: set-ID bits, file capabilities, devices."""

from __future__ import annotations

from collections.abc import Iterator

from tracejail.model import EntryType

from . import cure
from .facts import Facts, Item
from .weakness import Severity, Weakness

_SET_USER, _SET_GROUP = 0o4000, 0o2000
# As the policy has them, with the terminals that are somebody's own.
_HARMLESS = frozenset(((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)))
_PSEUDO = range(136, 144)
# (major, minor or -1 for all of the major), what it is, how bad. devices.txt of the kernel's documentation.
_CHARACTER: tuple[tuple[int, int, str, Severity], ...] = (
    (1, 1, "physical memory (mem)", Severity.CRITICAL),
    (1, 2, "kernel memory (kmem)", Severity.CRITICAL),
    (1, 4, "the I/O ports (port)", Severity.CRITICAL),
    (1, 11, "the kernel's log (kmsg)", Severity.MEDIUM),
    (5, 1, "the system console", Severity.MEDIUM),
    (4, -1, "a console or serial line", Severity.HIGH),
    (7, -1, "what a console shows (vcs)", Severity.HIGH),
    (10, 144, "the BIOS memory (nvram)", Severity.HIGH),
    (10, 183, "a hardware random generator", Severity.LOW),
    (10, 200, "network tunnels (tun)", Severity.HIGH),
    (10, 223, "made-up input devices (uinput)", Severity.CRITICAL),
    (10, 229, "file systems of a user's making (fuse)", Severity.HIGH),
    (10, 232, "virtual machines (kvm)", Severity.HIGH),
    (10, 237, "loop devices (loop-control)", Severity.HIGH),
    (10, 236, "the device mapper", Severity.CRITICAL),
    (13, -1, "keyboards, mice and the like", Severity.HIGH),
    (21, -1, "a SCSI device, raw (sg)", Severity.CRITICAL),
    (29, -1, "a screen (framebuffer)", Severity.HIGH),
    (81, -1, "a camera", Severity.HIGH),
    (89, -1, "an I2C bus", Severity.HIGH),
    (116, -1, "a sound card, with its microphone", Severity.HIGH),
    (162, -1, "a disk, raw", Severity.CRITICAL),
    (202, -1, "the registers of the processor (msr)", Severity.CRITICAL),
    (226, -1, "a graphics card", Severity.HIGH),
    (240, -1, "a device of a local driver", Severity.HIGH),
)


def set_id(facts: Facts) -> Iterator[Weakness]:
    """set-user-ID and set-group-ID programs, and file capabilities; milder where the mount takes no notice of them."""
    for item in facts.files:
        nosuid = facts.is_mounted(item.path, "nosuid")
        note = ("its mount is nosuid, which makes nothing of it",) if nosuid else ()
        evidence = (item.standing, *note, *facts.need((item.path,)))
        if item.mode & _SET_USER:
            yield Weakness(
                "setuid", _milder(Severity.HIGH if item.uid == 0 else Severity.MEDIUM, nosuid), item.path,
                f"{item.path} is set-user-ID of user {item.uid}",
                "root leaves a chroot; a hole in it makes its owner of whoever runs it", evidence,
                cure.change(facts, "chmod u-s --", item.path),
            )
        if item.mode & _SET_GROUP and item.mode & 0o010:
            yield Weakness(
                "setgid", _milder(Severity.MEDIUM, nosuid), item.path, f"{item.path} is set-group-ID of group {item.gid}",
                "a hole in it gives whoever runs it another group's files", evidence,
                cure.change(facts, "chmod g-s --", item.path),
            )
        if item.capabilities:
            yield Weakness(
                "file-capability", _milder(Severity.HIGH, nosuid), item.path,
                f"{item.path} has capabilities: {', '.join(item.capabilities)}",
                "whoever runs it has a part of root's power", evidence, cure.change(facts, "setcap -r", item.path),
            )


def _milder(severity: Severity, so: bool) -> Severity:
    return Severity.LOW if so else severity


def devices(facts: Facts) -> Iterator[Weakness]:
    """Devices by their numbers, whatever they are called."""
    for item in facts.items:
        if item.type not in (EntryType.CHARACTER, EntryType.BLOCK) or item.device is None:
            continue
        nodev = facts.is_mounted(item.path, "nodev")
        numbers = f"{item.device[0]}:{item.device[1]}"
        evidence = (
            f"{'block' if item.type is EntryType.BLOCK else 'character'} device {numbers}", item.standing,
            *(("its mount is nodev, so that it can't be opened",) if nodev else ()), *facts.need((item.path,)),
        )
        if item.type is EntryType.BLOCK:
            yield Weakness(
                "block-device", _milder(Severity.CRITICAL, nodev), item.path, f"{item.path} is a disk ({numbers})",
                "who may open it reads and writes all files of the host past all permissions", evidence,
                cure.remove(facts, item.path),
            )
        elif item.device not in _HARMLESS and item.device[0] not in _PSEUDO:
            what, severity = _character(item)
            rule = "memory-device" if item.device[0] == 1 and severity is Severity.CRITICAL else "device"
            yield Weakness(
                rule, _milder(severity, nodev), item.path, f"{item.path} is a device: {what} ({numbers})",
                "it reaches the kernel or the hardware, which no chroot holds", evidence, cure.remove(facts, item.path),
            )


def _character(item: Item) -> tuple[str, Severity]:
    for major, minor, what, severity in _CHARACTER:
        if item.device in ((major, minor), (major, item.device[1] if minor < 0 and item.device else -1)):
            return what, severity
    return "none that a jail commonly has", Severity.MEDIUM
