"""user_namespaces(7): which users, groups and devices this process can make, and how to be root in a namespace of its own."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from . import capabilities

_ALL = 0xFFFFFFFF   # the ids of the first user namespace: all but -1
KEEP = -1           # chown(2): leave it as it is


@dataclass(frozen=True, slots=True)
class Powers:
    """What this process may give to what it makes. `whole`: all that root of the machine may. `users` and `groups` are the
    ids that it can hand out, as ranges; `set_groups` whether setgroups(2) is there."""

    whole: bool
    users: tuple[range, ...] = ()
    groups: tuple[range, ...] = ()
    set_groups: bool = True

    @property
    def everybody(self) -> bool:
        """Whether it can give something to each user of the machine."""
        return self.whole or any(len(part) == _ALL for part in self.users)

    def user(self, number: int) -> int:
        """The owner to give for this one: itself, or KEEP where it can't be given."""
        return number if self.whole or any(number in part for part in self.users) else KEEP

    def group(self, number: int) -> int:
        """The same for a group."""
        return number if self.whole or any(number in part for part in self.groups) else KEEP


WHOLE = Powers(True)


def powers() -> Powers:
    """Of this process, as it is now."""
    held = capabilities.effective()
    users = _mapped("uid_map")
    if {capabilities.MKNOD, capabilities.CHOWN} <= held and any(len(part) == _ALL for part in users):
        return WHOLE
    if capabilities.CHOWN not in held:
        own = (range(os.geteuid(), os.geteuid() + 1),), (range(os.getegid(), os.getegid() + 1),)
        return Powers(False, *own, set_groups=False)
    set_groups = True
    with contextlib.suppress(OSError), open("/proc/self/setgroups", encoding="ascii") as stream:
        set_groups = stream.read().strip() == "allow"
    return Powers(False, users, _mapped("gid_map"), set_groups)


def _mapped(name: str) -> tuple[range, ...]:
    with open(f"/proc/self/{name}", encoding="ascii") as stream:
        rows = [line.split() for line in stream]
    return tuple(range(int(row[0]), int(row[0]) + int(row[2])) for row in rows)


def map_own(user: int, group: int, outer_user: int, outer_group: int, only_groups: bool = False) -> None:
    """After unshare(2) with NEWUSER: this process's own user and group, as they are outside, are `user` and `group` in the
    namespace, and there are no others. Raises OSError."""
    _write("setgroups", "deny")  # the kernel's condition for a map by somebody without privileges
    if not only_groups:
        _write("uid_map", f"{user} {outer_user} 1")
    _write("gid_map", f"{group} {outer_group} 1")


def _write(name: str, text: str) -> None:
    descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    except OSError as error:
        raise OSError(error.errno, f"{name}: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(descriptor)


def setting(name: str) -> str:
    """The value of a sysctl(8) setting by its dotted name; "" where this kernel has none."""
    try:
        with open(f"/proc/sys/{name.replace('.', '/')}", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def filtered() -> bool:
    """Whether a seccomp filter is around this process (proc(5), Seccomp)."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as stream:
        return any(line.split() == ["Seccomp:", "2"] for line in stream)
