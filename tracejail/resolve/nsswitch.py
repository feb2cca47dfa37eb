"""nsswitch.conf(5): reduced to the services that a jail has, and with a bell for the while of a run.

As glibc reads it (nss/nss_database.c, nss/nss_action_parse.c): a service whose module can't be loaded is unavailable, which
goes on to the next service unless an action says otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from typing import NamedTuple

# Since glibc 2.34 these are part of the C library itself (`compat`, `db` and all others are not). An older one has modules
# for them, which the run brings if it needs them; to name one that is not there does no harm.
_WITHOUT_MODULE = (b"files", b"dns")
# Other lines are for other readers, as sudo and autofs, whose modules have other names; passwd_compat and its like say where
# the + lines of `compat` look.
_DATABASES = frozenset((
    b"aliases", b"ethers", b"group", b"gshadow", b"hosts", b"initgroups", b"netgroup", b"networks", b"passwd", b"protocols",
    b"publickey", b"rpc", b"services", b"shadow",
))
_ACCOUNTS = frozenset((b"passwd", b"group", b"initgroups", b"shadow", b"gshadow"))
_LINE = re.compile(rb"(\s*)([^\s:#]+)(:)([^#\n]*)(.*)", re.DOTALL)
_SERVICE = re.compile(rb"\s*([^\s\[]+)\s*(?:\[([^\]]*)\])?")
_PAIR = re.compile(rb"\s*(!?)\s*([A-Za-z]+)\s*=\s*([A-Za-z]+)")
_MODULE = re.compile(r"libnss_(.+)\.so\.2$")

# A service of no module at the end of a line: the C library comes to it where no other one knew the name or number that it
# was asked for. As the name has a slash in it, the loader looks for it at one place only, beneath the working directory.
_BELL = "/tracejail/"
_BELL_FILE = re.compile(rf"libnss_{_BELL}([a-z]+)\.so\.2$")
_RINGS = (b"passwd", b"group")


class _Service(NamedTuple):
    name: bytes
    actions: bytes   # what is between the brackets

    def text(self) -> bytes:
        return self.name + (b" [" + self.actions.strip() + b"]" if self.actions.strip() else b"")


def modules_in(paths: Collection[str]) -> frozenset[bytes]:
    """The services of which a jail with these paths has the module."""
    found = (_MODULE.match(os.path.basename(path)) for path in paths)
    return frozenset(os.fsencode(match[1]) for match in found if match)


def account_modules(text: bytes, modules: Collection[bytes]) -> frozenset[bytes]:
    """Those of the modules that serve accounts and nothing else."""
    serving: dict[bytes, set[bytes]] = {}

    def note(name: bytes, services: list[_Service]) -> list[_Service]:
        for service in services:
            serving.setdefault(service.name, set()).add(name)
        return services

    _with_lines(text, note)
    return frozenset(name for name in modules if name in serving and serving[name] <= _ACCOUNTS)


def reduce_nsswitch(text: bytes, modules: Collection[bytes]) -> bytes:
    """nsswitch.conf with the services alone that have their module, or need none. It means the same in the jail: no
    service that is left out could be loaded there."""

    def reduced(name: bytes, services: list[_Service]) -> list[_Service]:
        kept = []
        for service in services:
            if service.name in modules or service.name in _WITHOUT_MODULE:
                kept.append(service)
            elif _action(service, b"unavail") == b"return":
                break  # nothing behind it is ever asked
        return kept or [_Service(b"files", b"")]

    return _with_lines(text, reduced)


def with_bells(text: bytes) -> bytes:
    """nsswitch.conf for a run: a look-up of an account that none of its services knows is heard of."""
    seen: dict[bytes, list[_Service]] = {}

    def with_bell(name: bytes, services: list[_Service]) -> list[_Service]:
        seen[name] = services
        return _rung(name, services) if name in _RINGS else services

    made = _with_lines(text, with_bell)
    if made and not made.endswith(b"\n"):
        made += b"\n"
    for name in _RINGS:
        if name not in seen:
            seen[name] = [_Service(b"files", b"")]
            made += _line(name, _rung(name, seen[name]))
    if b"initgroups" not in seen:
        # All services of `group` are asked for all groups of a user, whether one knew some or not: that would ring always.
        made += _line(b"initgroups", [_with_action(service, b"SUCCESS=continue") for service in seen[b"group"]])
    return made


def rung(spelled: str) -> str:
    """The database whose bell a look-up of this path is, "" for any other path."""
    match = _BELL_FILE.match(spelled)
    return match[1] if match else ""


def _rung(name: bytes, services: list[_Service]) -> list[_Service]:
    # What the last service says ends the look-up, whatever its actions are; now there is one more behind it.
    *others, last = services
    bell = _Service(_BELL.encode() + name, b"")
    return [*others, _with_action(last, b"SUCCESS=return !SUCCESS=continue"), bell]


def _with_action(service: _Service, action: bytes) -> _Service:
    return _Service(service.name, service.actions.strip() + b" " + action)


def _line(name: bytes, services: list[_Service]) -> bytes:
    return name + b": " + b" ".join(service.text() for service in services) + b"\n"


def _with_lines(text: bytes, change: Callable[[bytes, list[_Service]], list[_Service]]) -> bytes:
    """The text with the services of each database changed; a line that stays what it is keeps its spelling."""
    done = []
    for line in text.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match and match[2] in _DATABASES:
            services = [_Service(found[1], found[2] or b"") for found in _SERVICE.finditer(match[4])]
            changed = change(match[2], services) if services else services
            if changed != services:
                start, name, colon, values, rest = match.groups()
                space = values[: len(values) - len(values.lstrip())]
                tail = b" " + rest if rest else b""
                line = start + name + colon + space + b" ".join(service.text() for service in changed) + tail
        done.append(line)
    return b"\n".join(done)


def _action(service: _Service, status: bytes) -> bytes:
    """What the service's actions say of a status, in small letters; b"" where nothing."""
    said = b""
    for negated, name, action in _PAIR.findall(service.actions):
        if (name.lower() == status) != bool(negated):
            said = action.lower()
    return said
