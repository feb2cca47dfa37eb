"""The terminal that a target may have had as its foreground job."""

from __future__ import annotations

import contextlib
import os
import signal

from tracejail.kernel.waiting import blocked


def take_terminal_back(terminal: int) -> None:
    """The target was the foreground job; now it is this process again (tcsetpgrp(3), from the background)."""
    with blocked({signal.SIGTTOU}), contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, os.getpgrp())
