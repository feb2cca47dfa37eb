"""What is worth stealing: keys, hashes, histories, sources with their past, memory images."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from tracejail.model import EntryType

from . import cure
from .facts import Facts, Item
from .table import REPOSITORIES
from .weakness import Severity, Weakness

_CORE = re.compile(r"core(\.[0-9]+)?|.*\.core|vmcore.*")
_LEFT = re.compile(r".*(?:~|\.(?:swp|swo|bak|orig|rej|old|dpkg-(?:old|dist|new)|ucf-(?:old|dist)|rpmsave|rpmnew))")
_LEAST = 1 << 12   # bytes of what is a memory image by its name alone
_HISTORY = "what a user typed"


def secrets(facts: Facts) -> Iterator[Weakness]:
    """By place and by content, as the policy has it."""
    for item in facts.files:
        contents = item.contents
        if contents.open:
            yield Weakness(
                "empty-password", Severity.HIGH, item.path,
                f"{item.path}: {_names(contents.open)} need no password", "whoever can log in, or call su, becomes that user",
                (item.standing,), cure.change(facts, "sed -i 's/^\\([^:]*\\)::/\\1:!:/'", item.path),
            )
        if contents.hashes:
            yield Weakness(
                "password-hash", Severity.HIGH, item.path,
                f"{item.path} holds password hashes: of {_names(contents.hashes)}",
                "they are guessed at leisure elsewhere, and are often good for other machines",
                (item.standing, *facts.need((item.path,))), _keep_out(facts, item),
            )
        if not contents.secret or contents.hashes:
            continue
        history = contents.secret == _HISTORY
        need = facts.need((item.path,))
        readable = bool(item.mode & 0o004)
        severity = Severity.MEDIUM if history or (need and not readable) else Severity.HIGH
        if _is_locked(item):
            severity = Severity.LOW
        if not item.size:
            continue
        yield Weakness(
            "history" if history else "private-key" if "key" in contents.secret.lower() else "secret", severity, item.path,
            f"{item.path} holds {contents.secret}",
            "it tells of other machines and of passwords that were typed" if history
            else "who breaks in here has it, and whatever it opens elsewhere",
            (item.standing, *need), _keep_out(facts, item),
        )


def _is_locked(item: Item) -> bool:
    """Whether it is a place for hashes of passwords, and none is there now."""
    return item.contents.secret == "password hashes" and posixpath.basename(item.path).rstrip("-") in ("shadow", "gshadow")


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _keep_out(facts: Facts, item: Item) -> tuple[str, ...]:
    if facts.entries.get(item.path) is not None:
        return tuple(cure.closed(facts, item))
    return cure.remove(facts, item.path)


def repositories(facts: Facts) -> Iterator[Weakness]:
    """Directories of version control: all that was ever in it is still there."""
    for item in facts.items:
        name = posixpath.basename(item.path)
        inside = REPOSITORIES.get(name) if item.type is EntryType.DIRECTORY else None
        if inside is not None and (name != "CVS" or f"{item.path}/{inside}" in facts.by_path):
            yield Weakness(
                "repository", Severity.HIGH, item.path, f"{item.path} is a repository of sources",
                "it tells all that was ever in it: passwords that have been taken out, names, and what the program does",
                (item.standing, *(f"has {item.path}/{inside}" for _ in (0,) if f"{item.path}/{inside}" in facts.by_path)),
                cure.remove(facts, item.path),
            )


def images(facts: Facts) -> Iterator[Weakness]:
    """Memory images, and copies that editors and package tools leave behind."""
    for item in facts.files:
        name = posixpath.basename(item.path)
        by_name = _CORE.fullmatch(name) and not item.contents.kind and item.size > _LEAST
        if item.contents.kind == "core" or by_name:
            yield Weakness(
                "core-dump", Severity.HIGH, item.path, f"{item.path} is the memory of a program that died",
                "keys and passwords that it had in memory are in it", (f"{item.size} bytes", item.standing),
                cure.remove(facts, item.path),
            )
        elif _LEFT.fullmatch(name) and not facts.need((item.path,)) and not facts.is_written(item.path):
            yield Weakness(
                "left-over", Severity.LOW, item.path, f"{item.path} is a copy that an editor or a package tool left",
                "it holds what was thought to be changed, and is served as plain text", (item.standing,),
                cure.remove(facts, item.path),
            )
