"""All rules, in the order in which they are asked; a new rule is a function in a file of its family, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from . import needs, outward, privileges, secrets, tools, writing
from .facts import Facts
from .weakness import Weakness, worst_first

RULES: tuple[Callable[[Facts], Iterable[Weakness]], ...] = (
    tools.tools,
    tools.applet_links,
    tools.odd_headers,
    privileges.set_id,
    privileges.devices,
    writing.open_to_all,
    writing.open_to_groups,
    writing.own_code,
    writing.preloaded,
    writing.replaceable,
    writing.executable,
    secrets.secrets,
    secrets.repositories,
    secrets.images,
    outward.sockets,
    outward.hard_links,
    outward.links,
    outward.mounts,
    outward.above,
    outward.place,
    needs.not_needed,
    needs.stale,
    needs.not_looked_at,
    needs.advisories,
)

# What each rule is about, in a line: for SARIF and for --help of a reader.
ABOUT: dict[str, str] = {
    "shell": "A shell is in the jail",
    "interpreter": "An interpreter is in the jail",
    "compiler": "A part of a compiler is in the jail",
    "multi-call": "A binary that is a shell and many tools in one is in the jail",
    "file-transfer": "A tool that transfers files is in the jail",
    "editor": "An editor or pager is in the jail",
    "privilege-tool": "A tool that changes owners, modes, mounts or users is in the jail",
    "tracer": "A tool that looks into programs is in the jail",
    "package-tool": "A package tool is in the jail",
    "file-tool": "A tool for files is in the jail",
    "network-tool": "A tool for networks or servers is in the jail",
    "odd-header": "A program whose header says what it is not",
    "setuid": "A program is set-user-ID",
    "setgid": "A program is set-group-ID",
    "file-capability": "A program has capabilities",
    "device": "A device that reaches the kernel or the hardware",
    "memory-device": "A device that reaches memory or ports",
    "block-device": "A disk",
    "world-writable-file": "A file that all users can write to",
    "world-writable-directory": "A directory that all users can write to",
    "group-writable": "A file or directory that a group can write to",
    "writable-code": "Code that the program can write itself",
    "preload": "What is loaded into each program can be changed",
    "writable-configuration": "Configuration that the program can write itself",
    "writable-directory": "A directory with code or configuration that the program can write to",
    "written-executable": "A place that is written to and can be executed from",
    "empty-password": "An account without a password",
    "password-hash": "Password hashes",
    "history": "What a user typed",
    "private-key": "A private key",
    "secret": "A secret",
    "repository": "A repository of sources",
    "core-dump": "The memory of a program",
    "left-over": "A copy that an editor or a package tool left",
    "socket": "A socket that leads out of the jail",
    "hard-link-out": "A file that has names outside of the jail",
    "link-out": "A symbolic link that leads out of the jail for those outside",
    "kernel-mount": "A file system of the kernel is mounted",
    "bind-mount": "A file system or directory of the host is mounted",
    "not-roots": "The jail, or a directory above it, is not root's alone",
    "on-root-partition": "The jail lies on the host's root file system",
    "not-read-only": "The jail's file system can be written to",
    "starts-as-root": "The program is started as root",
    "not-needed": "Something that no run needed",
    "stale": "A program or library that is not the host's any more",
    "not-looked-at": "Something that was not looked at",
    "advisory": "A package with a known hole",
}


def weaknesses(facts: Facts) -> tuple[Weakness, ...]:
    """What all rules find, the worst first."""
    return worst_first(found for rule in RULES for found in rule(facts))
