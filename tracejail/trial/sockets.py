"""Listening sockets that a target is given when it starts, as a socket unit would (systemd.socket(5))."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from tracejail.errors import UsageError
from tracejail.jail.tree import Tree, bind_socket, remove
from tracejail.kernel.namespaces import network_namespace

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "unix": socket.SOCK_STREAM}
_BACKLOG = 128


def check(address: str) -> None:
    """Raises UsageError for an address that is none."""
    kind, _, rest = address.partition(":")
    port = rest.rpartition(":")[2]
    if kind not in _KINDS or not rest or (kind == "unix" and not rest.startswith("/")) or (kind != "unix" and not port.isdigit()):
        raise UsageError(f"--socket {address}: not an address", "give tcp:[ADDRESS:]PORT, udp:[ADDRESS:]PORT or unix:PATH")


@contextlib.contextmanager
def open_sockets(addresses: tuple[str, ...], init: int, private_network: bool, tree: Tree) -> Iterator[tuple[int, ...]]:
    """Sockets bound to `addresses` in the trial's network and tree, as descriptors, for the while of the block.

    Raises UsageError: one can't be bound.
    """
    with contextlib.ExitStack() as stack:
        made = []
        for address in addresses:
            with network_namespace(init) if private_network else contextlib.nullcontext():
                try:
                    made.append(stack.enter_context(_open(address, tree)))
                except OSError as error:
                    raise UsageError(f"--socket {address}: {error.strerror}", "name an address that is free") from None
        yield tuple(each.fileno() for each in made)


def _open(address: str, tree: Tree) -> socket.socket:
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
        remove(tree, rest)  # of an earlier start
        bind_socket(tree, rest, made)
    else:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
    if kind != "udp":
        made.listen(_BACKLOG)
    return made
