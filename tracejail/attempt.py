"""One attempt at a jail: the manifest of what was learned, a jail built from it alone, and a run in it with no answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from tracejail.assemble import Keep, Shape, assemble, names_of, same_in_both
from tracejail.build import build_in, taking_changes
from tracejail.contents import with_digests
from tracejail.guessed import completed
from tracejail.jail.staging import Staging
from tracejail.learner import Learned, Learner, Proof, verify_in
from tracejail.model import Command, Manifest


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
        kept=work.kept,
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
    """The jail in the staging directory; gives the manifest of it. Raises InputOutputError."""
    host = attempts.work.host
    return taking_changes(host, manifest, lambda now: build_in(attempts.stage, host, now, now.jail))


