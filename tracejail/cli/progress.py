"""Talk to standard error: one live status line on a terminal, lines of -v, warnings."""

from __future__ import annotations

import os
import sys
import time

from .escape import escape, escape_text

_WIDTH = 80      # columns of a terminal that says 0, as one without a user does
_INTERVAL = 0.1  # seconds between two states of the status line


class Talk:
    """The Show of the command line. `level` is -1 for -q, 0, or 1 for -v."""

    def __init__(self, level: int, terminal: bool) -> None:
        self.level = level
        self.live = terminal and level >= 0
        self.shown = 0.0
        self.on_screen = False

    def status(self, text: str) -> None:
        """The live line, on a terminal only, at most ten times a second."""
        now = time.monotonic()
        if not self.live or now - self.shown < _INTERVAL:
            return
        self.shown = now
        width = os.get_terminal_size(2).columns or _WIDTH
        sys.stderr.write("\r\x1b[K" + escape(text)[: max(width - 1, 10)])
        sys.stderr.flush()
        self.on_screen = True

    def clear(self) -> None:
        """Take the live line away."""
        if self.on_screen:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.on_screen = False

    def say(self, text: str) -> None:
        """A line with -v."""
        if self.level > 0:
            self.clear()
            sys.stderr.write(escape(text) + "\n")

    def warn(self, text: str) -> None:
        """A line unless -q."""
        if self.level >= 0:
            self.clear()
            sys.stderr.write(f"tracejail: {escape(text)}\n")

    def output(self, data: bytes) -> None:
        """The target's own output, with -v."""
        if self.level > 0:
            self.clear()
            sys.stderr.write(escape_text(data))
            sys.stderr.flush()
