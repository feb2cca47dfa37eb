"""A trial without root: a user namespace in which this process has the powers that a trial takes.

The user is there whom the target is to run as: root, or the one that `-u` names. Nobody else is, but where newuidmap(1) and
the user's subordinate ids (subuid(5)) give more: then the user is root there, and the others have numbers of their own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from tracejail.errors import KernelLacksError
from tracejail.kernel import capabilities, mounts, namespaces
from tracejail.kernel.identities import filtered, map_own, setting
from tracejail.kernel.outside import Outside

_HINT = "or call it as root (sudo)"
_GIVEN_IDS = (("newuidmap", "/etc/subuid"), ("newgidmap", "/etc/subgid"))


# Of root; what a target has besides is its own affair.
_NEEDED = ("sys_ptrace", "sys_chroot", "setuid", "setgid", "chown")


def gain_powers(user: int, group: int, private_network: bool, say: Callable[[str], None]) -> None:
    """Whatever a trial takes, for a target of this user and group; nothing where it is there already.

    Raises KernelLacksError, which names the setting that forbids it.
    """
    own = capabilities.effective()
    if capabilities.SYS_ADMIN in own:
        needed = (*_NEEDED, *(("net_admin",) if private_network else ()))
        lacking = [name for name in needed if capabilities.NAMES.index(name) not in own]
        if lacking:
            names = ", ".join(f"CAP_{name.upper()}" for name in lacking)
            hint = "a container is given them (--cap-add); or call it as a plain user, where there are user namespaces"
            raise KernelLacksError(f"a trial takes {names}, which this root does not have", hint)
        return
    outer_user, outer_group = os.geteuid(), os.getegid()
    given, lacks = _subordinate_ids(outer_user)  # before: in the namespace a module may not be readable
    line = Outside()
    # Its own network too: from a trial's one there is a way back only to one that belongs to the namespace.
    flags = namespaces.NEWUSER | namespaces.NEWNS | (namespaces.NEWNET if private_network else 0)
    try:
        namespaces.unshare(flags)
        lacks = lacks or _map_subordinate(line, given, outer_user, outer_group)
        if lacks:
            say(f"only one user is there in the trial: {lacks}")
            map_own(user, group, outer_user, outer_group)
        if user:
            capabilities.pass_on(capabilities.SYS_PTRACE)  # an exercise is to reach the trial's root, whoever it runs as
        mounts.make_private()
        os.close(mounts.prepare("tmpfs", {}))  # AppArmor lets a namespace be made, and then no use of it
    except OSError as error:
        raise KernelLacksError(*_why_not(error)) from None
    Outside.line = line


def lacks() -> tuple[str, str] | None:
    """Why `gain_powers` would fail, and what to do about it; None if it would not. Tried in a child."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            gain_powers(0, 0, True, lambda _: None)
        except KernelLacksError as error:
            os.write(theirs, f"{error.message}\n{error.hint}".encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as stream:
        text = stream.read().decode()
    os.waitpid(child, 0)
    message, _, hint = text.partition("\n")
    return (message, hint) if message else None


def _subordinate_ids(user: int) -> tuple[list[tuple[str, list[tuple[int, int]]]], str]:
    """The programs that map a user's subordinate ids, with the ranges of users and of groups; or why there are none."""
    import pwd  # these two here, as root, who needs none of this, would wait 4 ms for them at each start
    import shutil

    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    given = []
    for program, path in _GIVEN_IDS:
        ranges, found = _ranges(path, (name, str(user))), shutil.which(program)
        if not ranges:
            return [], f"{path} has no line for {name}"
        if not found:
            return [], f"there is no {program} (Debian package uidmap)"
        given.append((found, ranges))
    return given, ""


def _map_subordinate(line: Outside, given: list[tuple[str, list[tuple[int, int]]]], user: int, group: int) -> str:
    """Map the user to root and the subordinate ids to the others; "" or why not."""
    for (program, ranges), own in zip(given, (user, group), strict=True):
        words = [program, str(os.getpid()), "0", str(own), "1"]
        inner = 1
        for start, count in ranges:
            words += [str(inner), str(start), str(count)]
            inner += count
        failure = line.run(words)
        if failure and (program, ranges) == given[1]:
            map_own(0, 0, user, group, only_groups=True)
            return ""
        if failure:
            return failure
    return ""


def _ranges(path: str, names: tuple[str, str]) -> list[tuple[int, int]]:
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for row in stream:
                name, _, numbers = row.strip().partition(":")
                start, _, count = numbers.partition(":")
                if name in names and start.isdigit() and count.isdigit():
                    found.append((int(start), int(count)))
    except OSError:
        return []
    return found


def _why_not(error: OSError) -> tuple[str, str]:
    """One line that names the setting, and what to do."""
    begin = "without root a trial takes a user namespace, and"
    most = setting("user.max_user_namespaces")
    if most == "0":
        return f"{begin} user.max_user_namespaces is 0 here", f"as root: sysctl user.max_user_namespaces=10000; {_HINT}"
    if error.errno in (errno.EPERM, errno.EACCES):
        if setting("kernel.unprivileged_userns_clone") == "0":
            hint = f"as root: sysctl kernel.unprivileged_userns_clone=1; {_HINT}"
            return f"{begin} kernel.unprivileged_userns_clone is 0 here", hint
        restrict = "kernel.apparmor_restrict_unprivileged_userns"
        if setting(restrict) == "1":
            return f"{begin} {restrict} is 1 here", f"as root: sysctl {restrict}=0, or an AppArmor profile; {_HINT}"
        if filtered():
            return f"{begin} a seccomp filter, as a container has it, refuses one", f"call it outside the container, {_HINT}"
        hint = f"call it outside a chroot, see what the machine's security module says, {_HINT}"
        return f"{begin} it is refused: {error.strerror}", hint
    if error.errno == errno.ENOSPC:
        return f"{begin} no more than {most} are allowed (user.max_user_namespaces)", f"as root: raise it; {_HINT}"
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        return f"{begin} this kernel has none (CONFIG_USER_NS)", _HINT.removeprefix("or ")
    return f"{begin} {error.strerror}", _HINT.removeprefix("or ")
