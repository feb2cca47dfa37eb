"""`--unit`: a unit read for learn and for verify, and said what was taken from it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tracejail.errors import UsageError
from tracejail.model import TrialOptions
from tracejail.resolve.host import open_host_root
from tracejail.resolve.unit_options import describe, trial_options, warnings
from tracejail.resolve.units import Unit, read_unit
from tracejail.show import Show


def options_of_unit(word: str, fields: Mapping[str, str | float | bool | tuple[str, ...]], talk: Show) -> TrialOptions:
    """The options that a unit stands for beside those of the command line. Raises UsageError."""
    unit = _read(word, str(fields.get("host_root") or "/"), str(fields.get("user") or ""))
    options = trial_options(unit, fields.keys())
    for line in describe(unit, options):
        talk.say(line)
    for line in warnings(unit):
        talk.warn(line)
    return options


def environment_of_unit(word: str, host_root: str, user: str, talk: Show) -> tuple[tuple[str, str], ...]:
    """What a unit sets now. One that is gone is no reason not to try."""
    try:
        return _read(word, host_root, user).environment
    except UsageError as error:
        talk.warn(f"the environment of its unit is not known: {error.message}")
        return ()


def _read(word: str, host_root: str, user: str) -> Unit:
    host = open_host_root(host_root)
    try:
        return read_unit(host, word, user, os.environ)
    finally:
        os.close(host.fd)


