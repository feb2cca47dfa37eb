"""A server as a row of data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """How a server is set up, learned, driven by a client, and reloaded.

    Shell lines run on a private host (tests/real/private_host.py) whose /etc, /var, /run, /srv, /root and /home are the
    test's own. {T} is a directory of the test for what the client needs.
    """

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]           # what stands after the options: the program and its words, or --unit NAME
    client: str                        # shell lines, run in the target's network; $TRACEJAIL_ROOT is the jail
    expected: str                      # what the client prints
    unit: str = ""                     # its systemd unit, where that says all that learning needs to know
    runtime: str = ""                  # shell line that makes what is made for a unit (RuntimeDirectory)
    prepare: str = ""                  # shell lines: configuration beside the package's default, data
    ready: str = ""                    # shell line that succeeds when the server serves; by default the client itself
    reload: str = "HUP"                # signal, command:CMD, or "" where it has no reload
    reopen: str = ""                   # signal for new log files, where it knows one
    stop: str = "TERM"
    options: tuple[str, ...] = ()      # of learn
    user: str = ""                     # that it is started as
    held: tuple[str, ...] = ()         # paths that the jail must hold
    kept_out: tuple[str, ...] = ()     # and what it must not
    rounds: int = 2                    # at most
    why_more: str = ""                 # the reason where it takes more than two
