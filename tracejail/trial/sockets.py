"""Listening sockets that a target is given when it starts, as a socket unit would (systemd.socket(5))."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

from tracejail.errors import UsageError
from tracejail.jail.tree import bind_socket, remove
from tracejail.kernel.namespaces import network_namespace

from .supply import Supply
from .walk import join

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "unix": socket.SOCK_STREAM}
_BACKLOG = 128


def check(address: str) -> None:
    """Raises UsageError for an address that is none."""
    kind, _, rest = address.partition(":")
    port = rest.rpartition(":")[2]
    if kind not in _KINDS or not rest or (kind == "unix" and not rest.startswith("/")) or (kind != "unix" and not port.isdigit()):
        raise UsageError(f"the socket {address}: not an address", "it is tcp:[ADDRESS:]PORT, udp:[ADDRESS:]PORT or unix:PATH")


@contextlib.contextmanager
def open_sockets(addresses: tuple[str, ...], init: int, private_network: bool, supply: Supply) -> Iterator[tuple[int, ...]]:
    """Sockets bound to `addresses` in the trial's network and in the tree of `supply`, as descriptors, for the while of the
    block.

    Raises UsageError: one can't be bound.
    """
    with contextlib.ExitStack() as stack:
        made = []
        for address in addresses:
            with network_namespace(init) if private_network else contextlib.nullcontext():
                try:
                    made.append(stack.enter_context(_open(address, supply)))
                except OSError as error:
                    cause = f"the socket {address} of the unit: {error.strerror}"
                    raise UsageError(cause, _hint(error, private_network)) from None
        yield tuple(each.fileno() for each in made)


def _hint(error: OSError, private_network: bool) -> str:
    if error.errno == errno.EADDRINUSE and not private_network:
        return "stop who listens there, or leave out --net host"
    return "a drop-in of the socket unit may name another address (systemctl edit)"


def _open(address: str, supply: Supply) -> socket.socket:
    kind, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    try:
        made = socket.socket(family, _KINDS[kind])
    except OSError:
        if host or family is not socket.AF_INET6:
            raise
        family, host = socket.AF_INET, "0.0.0.0"  # a kernel without IPv6
        made = socket.socket(family, _KINDS[kind])
    if kind == "unix":
        directory, _, name = rest.rpartition("/")
        # /var/run is a link on most machines; the trial's own tree is written by real paths only.
        path = join(supply.resolve("/", "/", directory or "/", follow=True).path, name)
        remove(supply.tree, path)  # of an earlier start
        bind_socket(supply.tree, path, made)
    else:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
    if kind != "udp":
        made.listen(_BACKLOG)
    return made
