"""nsjail: its configuration, a message of its config.proto in protobuf's text form. The root is the jail's directory, read-only
but for what was written to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tracejail.model import EntryType, Manifest

from .box import (
    CAPABILITIES,
    DEVICES,
    beneath,
    bound_sockets,
    directory_of_jail,
    gains_privilege,
    kept_read_only,
    program,
    root_is_written,
    variables,
    writable,
)
from .request import Request

_ESCAPES = {0x0A: "\\n", 0x22: '\\"', 0x5C: "\\\\"}


def nsjail(request: Request) -> Iterable[bytes]:
    """The message."""
    return ["\n".join([*_lines(request), ""]).encode("ascii")]


def _lines(request: Request) -> Iterator[str]:
    manifest, command = request.manifest, request.manifest.command
    yield "# Made by tracejail: nsjail -C FILE"
    yield "mode: ONCE"
    yield f"cwd: {_text(command.directory)}"
    # Limits are the caller's, and so is the network.
    yield "time_limit: 0"
    yield from (f"rlimit_{name}_type: SOFT" for name in ("as", "core", "cpu", "fsize", "nofile", "nproc", "stack"))
    yield "clone_newnet: false"
    yield "clone_newcgroup: false"
    yield f"disable_no_new_privs: {_flag(bool(gains_privilege(manifest)))}"
    yield "keep_env: false"
    yield from (f"envar: {_text(name)}" for name in ("PATH", *variables(manifest)) if name)
    if command.uid or command.gid:
        yield f'uidmap {{ inside_id: "{command.uid}" outside_id: "{command.uid}" count: 1 }}'
        yield f'gidmap {{ inside_id: "{command.gid}" outside_id: "{command.gid}" count: 1 }}'
    else:
        # Root's own identities, that it may become another user.
        yield "clone_newuser: false"
        yield from (f'cap: "{name}"' for name in CAPABILITIES)
    yield "mount_proc: false"
    yield from _mounts(request, manifest)
    words = "".join(f" arg: {_text(word)}" for word in command.argv[1:])
    yield f"exec_bin {{ path: {_text(program(manifest))}{words} }}"


def _mounts(request: Request, manifest: Manifest) -> Iterator[str]:
    jail = directory_of_jail(request)
    yield _bind(jail, "/", root_is_written(manifest), True)
    yield from (_bind(jail + path, path, False, True) for path in kept_read_only(manifest))
    for place in writable(manifest):
        yield _bind(jail + place.path, place.path, True, place.type is EntryType.DIRECTORY)
    for entry in manifest.entries:
        if entry.type in DEVICES:
            # A jail that was built without root has no devices: those of the host are at the same place.
            # nsjail opens what it binds over, which a terminal refuses to who has none: then the jail's own is left.
            source = entry.path if beneath(entry.path, "/dev") else jail + entry.path
            yield _bind(source, entry.path, True, False, "mandatory: false")
    for mount in manifest.mounts:
        if mount.type == "proc":
            yield 'mount { dst: "/proc" fstype: "proc" rw: true }'
        else:
            yield _bind(mount.path, mount.path, mount.type == "devpts", True)
    for source, path in bound_sockets(manifest).items():
        yield _bind(source, path, True, False, "mandatory: false")


def _bind(source: str, place: str, writes: bool, directory: bool, more: str = "") -> str:
    flags = f"is_bind: true rw: {_flag(writes)} is_dir: {_flag(directory)}"
    return f"mount {{ src: {_text(source)} dst: {_text(place)} {flags}{' ' * bool(more)}{more} }}"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _text(text: str) -> str:
    """A string: all that is not plain as three octal digits, so that a digit after it is not taken for one of them."""
    plain = (_ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in os.fsencode(text))
    return f'"{"".join(plain)}"'
