"""The use case `verify`: the manifest's command in its jail, nothing answered and nothing changed: is it clean?"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from tracejail.contents import contents_of, times_of
from tracejail.engines import chosen
from tracejail.errors import UsageError
from tracejail.foreign import settled
from tracejail.jail.build import populate
from tracejail.learner import Learner, Proof, learner, verify_in
from tracejail.model import LearnResult, Manifest, TrialOptions
from tracejail.result import result_of
from tracejail.show import Show
from tracejail.trace.engine import Engine
from tracejail.trial.outcome import as_expected, ended_words
from tracejail.trial.target import scratch_tree


def verify(manifest: Manifest, options: TrialOptions, show: Show) -> LearnResult:
    """One run in the jail (`options.jail`, else the one that the manifest remembers, else a fresh copy).

    Raises TracejailError.
    """
    with chosen(options.engine, show) as engine:
        return _verify(manifest, options, show, engine)


def options_of(manifest: Manifest, path: str, environment: tuple[tuple[str, str], ...]) -> TrialOptions:
    """How the command of a manifest, which was read from `path`, is run again."""
    command = manifest.command
    return TrialOptions(
        argv=command.argv,
        manifest=path,
        host_root=manifest.host.root,
        exercises=command.exercises,
        ready=command.ready,
        reload=command.reload,
        reopen=command.reopen,
        again=command.again,
        service=command.service,
        stop=command.stop,
        expect=command.expect,
        kept=command.kept,
        network=command.network,
        user=command.user,
        directory=command.directory,
        environment=environment,
    )


def _verify(manifest: Manifest, options: TrialOptions, show: Show, engine: Engine) -> LearnResult:
    began = time.monotonic()
    work = learner(options, show, engine)
    manifest, notes = settled(work.host, manifest)
    work.notes.update(dict.fromkeys(notes))
    jail = options.jail or manifest.jail
    if options.jail and not os.path.isdir(options.jail):
        raise UsageError(f"{options.jail}: no such jail", "build it: tracejail build MANIFEST -j DIR")
    if os.path.isdir(jail):
        lower = os.open(jail, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            proof = verify_in(work, manifest, lower)
        finally:
            os.close(lower)
    else:
        proof = _in_fresh_copy(work, manifest)
    outcome, missing = proof.outcome, proof.ledger.missing
    reason = hint = ""
    if not as_expected(outcome, options.expect):
        reason, hint = outcome.failure or f"it {ended_words(outcome)}", outcome.hint or "learn it again"
    elif missing:
        reason, hint = f"{len(missing)} things are missing that the host has", "tracejail learn --append brings them"
    clean = not reason
    result = replace(manifest, jail=os.path.abspath(jail), clean=clean)
    seconds = time.monotonic() - began
    lines = tuple(proof.ledger.lines)
    return result_of(work, outcome, proof.ledger, result, options.manifest, reason, hint, seconds, lines)


def _in_fresh_copy(work: Learner, manifest: Manifest) -> Proof:
    with scratch_tree() as tree:
        contents = contents_of(work.host, manifest.entries, manifest.accounts)
        populate(tree, manifest.entries, contents, times_of(work.host))
        return verify_in(work, manifest, tree.fd)
