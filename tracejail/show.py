"""How a use case talks while it works; `cli` has the one that prints, tests have their own."""

from __future__ import annotations

from typing import Protocol


class Show(Protocol):
    """What a use case may say."""

    def status(self, text: str) -> None:
        """The one live line: what is going on now. Called often."""

    def say(self, text: str) -> None:
        """A line of talk, shown with -v."""

    def warn(self, text: str) -> None:
        """A line that is always shown."""

    def output(self, data: bytes) -> None:
        """The target's own output, shown with -v."""


class Silent:
    """Says nothing."""

    def status(self, text: str) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def output(self, data: bytes) -> None:
        """Nothing."""
