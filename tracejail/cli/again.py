"""A manifest's command once more: the options of `verify`, from what the manifest says of the run that it was learned in."""

from __future__ import annotations

import os

from .options import Fields
from .progress import Talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tracejail.model import Manifest, TrialOptions


def options_again(manifest: Manifest, path: str, fields: Fields, talk: Talk) -> TrialOptions:
    """What the command line may change of it is not in it yet. Raises UsageError for a unit that is not there any more."""
    from tracejail.verify import options_of

    command = manifest.command
    given = fields.get("environment", ())
    assert isinstance(given, tuple)
    unit = command.service.unit
    environment: tuple[tuple[str, str], ...] = ()
    if unit:
        from .unit import environment_of_unit

        root, user = str(fields.get("host_root") or manifest.host.root), str(fields.get("user") or command.user)
        environment = environment_of_unit(unit, root, user, talk)
    names = {pair.partition("=")[0] for pair in given} | ({key for key, _ in environment} if unit else {*os.environ})
    missing = [key for key in command.environment if key not in names]
    for key in missing:
        talk.warn(f"it was learned with {key} set by -E, and its value is not stored: give it again")
    return options_of(manifest, path, environment)
