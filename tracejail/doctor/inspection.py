"""What the files of a jail show where nothing is run: links that lead nowhere, an index that is stale, modules that are named and
not there, trust that is empty. A learned jail holds what its program used, and no more: what is named there and lies outside
may never be asked for, so that most of this is only possible."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from tracejail.model import EntryType

from .facts import Facts, Node
from .finding import Action, Confidence, Finding, Kind
from .remedies import bring

_CACHE = "/etc/ld.so.cache"
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt")
_MODULES = re.compile(rb"^(-?)(?:auth|account|password|session)\s+(?:\[[^\]]*\]|\w+)\s+(\S+\.so)", re.MULTILINE)
_PLACES = re.compile(r"(?:/usr)?/lib(?:64|/[a-z0-9_]+-linux-[a-z0-9]+)?/security")
_BINS = ("bin", "sbin")
_MOST = 65536     # bytes of a file of settings


def dangling(facts: Facts) -> Iterator[Finding]:
    """A link of the jail that leads nowhere there, and somewhere on the host."""
    if facts.run is not None:
        return
    for node in facts.jail.everything():
        if node.type is not EntryType.SYMLINK or facts.jail.way(node.path).found is not None:
            continue
        host, way = facts.host.way(node.path), facts.jail.way(node.path)
        lost = posixpath.normpath(posixpath.join(posixpath.dirname(node.path), node.target))
        there = host.found or facts.host.way(lost).found
        # One to a directory, as /sbin is, stands in a jail that has no file there.
        if there is None or there.type is not EntryType.FILE or there.foreign or any(hop.foreign for hop in host.hops):
            continue
        wanted = node.path if host.found is not None else lost
        # A program is there to be executed; another link may be there to be looked at, as ls(1) does.
        among_programs = posixpath.basename(posixpath.dirname(node.path)) in _BINS
        program = among_programs and there.mode & 0o111
        confidence = Confidence.LIKELY if program else Confidence.POSSIBLE
        yield Finding(
            "dangling-link", confidence, way.lead, f"{node.path} is a link that leads to {way.lead}, which the jail lacks",
            bring(facts, wanted), evidence=(f"{node.path} -> {node.target}",), quiet=True,
        )


def stale_index(facts: Facts) -> Iterator[Finding]:
    """A library that ld.so.cache has elsewhere than the jail: a loader looks where the index says, and nowhere else."""
    if facts.run is not None:
        return
    for node in _libraries(facts):
        name = posixpath.basename(node.path)
        cached = facts.jail.cached(name)
        if cached and not any(facts.jail.way(path).found for path in cached):
            yield Finding(
                "stale-index", Confidence.LIKELY, _CACHE,
                f"{_CACHE} of the jail says that {name} is at {cached[0]}, and it is at {node.path}",
                (Action(Kind.CACHE, _CACHE),), evidence=(f"{node.path}: is there",), quiet=True,
            )


def _libraries(facts: Facts) -> Iterator[Node]:
    for node in facts.jail.everything():
        if node.type in (EntryType.FILE, EntryType.SYMLINK) and ".so" in posixpath.basename(node.path):
            yield node


def login_modules(facts: Facts) -> Iterator[Finding]:
    """A module of pam.d(5) that is not in the jail: whoever is to be let in is refused."""
    if facts.run is not None:
        return
    places = [node.path for node in facts.jail.everything() if node.type is EntryType.DIRECTORY and _PLACES.fullmatch(node.path)]
    lacks: dict[str, list[str]] = {}
    for name in facts.jail.names("/etc/pam.d") if places else ():
        path = f"/etc/pam.d/{name}"
        for match in _MODULES.finditer(facts.jail.start(path, _MOST)):
            module = match[2].decode("utf-8", "surrogateescape")
            found = [module] if module.startswith("/") else [f"{place}/{module}" for place in places]
            if not match[1] and not any(facts.jail.way(each).found for each in found):
                lacks.setdefault(module, []).append(path)
    for module, paths in lacks.items():
        on_host = next((f"{place}/{module}" for place in places if facts.host.way(f"{place}/{module}").found), module)
        yield Finding(
            "login-module", Confidence.POSSIBLE, on_host, f"{module}, which {paths[0]} names, is not in the jail",
            bring(facts, on_host), evidence=tuple(paths[:3]), quiet=True,
        )


def trust(facts: Facts) -> Iterator[Finding]:
    """A bundle of certificates that holds none."""
    for path in _BUNDLES:
        here, there = facts.jail.way(path).found, facts.host.way(path).found
        if here is None or there is None or here.type is not EntryType.FILE or there.type is not EntryType.FILE:
            continue
        if b"BEGIN" not in facts.jail.start(path, _MOST) and b"BEGIN" in facts.host.start(path, _MOST):
            yield Finding(
                "empty-trust", Confidence.LIKELY, path,
                f"{path} holds no certificate in the jail ({here.size} bytes): nobody is trusted",
                (Action(Kind.REMOVE, here.path), Action(Kind.COPY, there.path)), evidence=(here.standing,), quiet=True,
            )
