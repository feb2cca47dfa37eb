"""One attempt at a jail: the manifest of what was learned, a jail built from it alone, and a run in it with no answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from tracejail.assemble import Keep, Shape, assemble, names_of, same_in_both
from tracejail.build import build_in
from tracejail.contents import with_digests
from tracejail.errors import SourceChangedError
from tracejail.guessed import completed
from tracejail.jail.staging import Staging
from tracejail.learner import Learned, Learner, Proof, verify_in
from tracejail.model import Command, Manifest

_CHANGES = 20  # of sources while a jail is built, before it is given up


@dataclass(frozen=True, slots=True)
class Attempts:
    """What all attempts of one learn have in common. `former` is the manifest that is added to."""

    work: Learner
    stage: Staging
    jail: str
    former: Manifest | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the accounts and of listed names goes into the jail beside what was used."""

    keep: Keep
    directories: tuple[str, ...] = ()              # all names of these
    accounts: frozenset[str] = frozenset()         # these too


def attempt(attempts: Attempts, learned: Learned, choice: Choice) -> tuple[Manifest, Proof]:
    """Build the jail in the staging directory and run the target in it; what random names made is out of the manifest.

    Raises InputOutputError, KernelLacksError.
    """
    manifest = build(attempts, manifest_of(attempts, learned, choice))
    lower = os.open("root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=attempts.stage.fd)
    try:
        proof = verify_in(attempts.work, manifest, lower, bring=True)
    finally:
        os.close(lower)
    return same_in_both(manifest, proof.ledger, proof.outcome), proof


def manifest_of(attempts: Attempts, learned: Learned, choice: Choice) -> Manifest:
    """The manifest, not proven yet. Raises InputOutputError."""
    work = attempts.work
    options = work.options
    command = Command(
        argv=(work.program, *options.argv[1:]),
        directory=options.directory,
        user=options.user,
        uid=work.user.uid,
        gid=work.user.gid,
        groups=work.user.groups,
        environment=tuple(sorted(key for key, _ in options.environment)),
        exercises=options.exercises,
        ready=options.ready,
        reload=options.reload,
        reopen=options.reopen,
        again=options.again,
        stop=options.stop,
        expect=options.expect,
        network=options.network,
        service=options.service,
    )
    shape = Shape(
        command, attempts.jail, tuple(learned.mounts), choice.keep, frozenset((work.user.uid,)),
        frozenset((work.user.gid, *work.user.groups)), choice.accounts,
    )
    entries = names_of(work.host, choice.directories, learned.ledger.entries) if choice.directories else []
    manifest = assemble(work.host, learned.ledger, learned.outcome, shape, entries)
    if attempts.former is None:
        return manifest
    both = completed(attempts.former, manifest, work.host)
    return replace(both, entries=tuple(with_digests(work.host, list(both.entries), both.accounts)))


def build(attempts: Attempts, manifest: Manifest) -> Manifest:
    """The jail in the staging directory; gives the manifest of it. A file that changes on the host meanwhile, as a log
    does, is taken as it is now."""
    for _ in range(_CHANGES):
        try:
            build_in(attempts.stage, attempts.work.host, manifest, manifest.jail)
            return manifest
        except SourceChangedError as error:
            entries = [replace(entry, sha256="") if entry.path == error.path else entry for entry in manifest.entries]
            done = with_digests(attempts.work.host, entries, manifest.accounts)
            manifest = replace(manifest, entries=tuple(done))
    build_in(attempts.stage, attempts.work.host, manifest, manifest.jail)
    return manifest


