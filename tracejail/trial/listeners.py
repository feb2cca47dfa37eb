"""Sockets of ours that a target may talk to while it runs: the service manager's and the system log's.

They belong to the surroundings, not to the jail: they answer in a proving run as well.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable

from tracejail.jail.tree import Tree, bind_socket
from tracejail.kernel.namespaces import network_namespace

LOG = "/dev/log"                    # where syslog(3) sends to, in whatever root directory the process has
_LARGEST = 1 << 16                  # bytes of one message
_MOST = 1 << 20                     # bytes of log that are kept
_PRIORITY = re.compile(rb"^<\d{1,3}>")


class Listeners:
    """The sockets of one run. sd_notify(3): READY=1 and the like, through a name in the trial's network and none in its
    tree. syslog(3): bound where a process looks for it, once it does."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.ready = False                      # READY=1 has come
        self.reloading = False                  # RELOADING=1 has come, and no READY=1 since
        self.words = ""                         # the last STATUS=
        self.main_process = 0                   # the last MAINPID=, in the trial's own numbers
        self.log = b""
        self.served: set[str] = set()           # where the log socket is bound
        self.manager = ""                       # the value of NOTIFY_SOCKET
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._spare = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(4)]  # /dev/log of further roots

    def open(self, init: int, private_network: bool) -> None:
        """Bind the service manager's socket in the trial's network."""
        self._notify.close()
        with network_namespace(init) if private_network else contextlib.nullcontext():
            # An abstract name belongs to the network namespace that its socket was made in (unix(7)).
            self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind("")               # autobind: a name that nobody has
        self.manager = "@" + self._notify.getsockname()[1:].decode("ascii")

    def sources(self) -> dict[int, Callable[[], None]]:
        """Descriptors to wait for, and what to do when one is readable; to be asked once, after `open`."""
        return {self._notify.fileno(): self._hear_manager} | {
            spare.fileno(): lambda spare=spare: self._hear_log(spare) for spare in self._spare
        }

    def serve_log(self, path: str) -> bool:
        """Bind the log socket at a path of the tree whose directory is there; whether it was not yet."""
        if path in self.served or len(self.served) >= len(self._spare):
            return False
        try:
            bind_socket(self.tree, path, self._spare[len(self.served)])
        except OSError:
            return False
        self.served.add(path)
        return True

    def begin(self) -> None:
        """Before another start: what the process of the former one said is of no account."""
        self._hear_manager()
        self.ready, self.reloading, self.words, self.main_process = False, False, "", 0

    def forget_ready(self) -> None:
        """Before a reload."""
        self.ready = False

    def drain(self) -> None:
        """Take what has come and was not waited for."""
        self._hear_manager()
        for spare in self._spare:
            self._hear_log(spare)

    def close(self) -> None:
        for each in (self._notify, *self._spare):
            each.close()

    def _hear_manager(self) -> None:
        for message in _messages(self._notify):
            for line in message.split(b"\n"):
                name, _, value = line.partition(b"=")
                if name == b"READY" and value == b"1":
                    self.ready, self.reloading = True, False
                elif name == b"RELOADING" and value == b"1":
                    self.reloading = True
                elif name == b"MAINPID" and value.isdigit():
                    self.main_process = int(value)
                elif name == b"STATUS":
                    self.words = value.decode("utf-8", "replace")

    def _hear_log(self, source: socket.socket) -> None:
        for message in _messages(source):
            if len(self.log) < _MOST:
                self.log += _PRIORITY.sub(b"", message.rstrip(b"\0\n")) + b"\n"


def _messages(source: socket.socket) -> list[bytes]:
    messages = []
    with contextlib.suppress(OSError):
        while True:
            # Descriptors that come along, as with BARRIER=1, are closed by the kernel, which is the answer to them.
            messages.append(source.recv(_LARGEST, socket.MSG_DONTWAIT))
    return messages
