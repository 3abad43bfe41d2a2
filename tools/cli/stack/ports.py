"""Which TCP ports a stack takes: the API's is the user's word, the others are free ones."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from libs.errors import UsageError


class PortTakenError(UsageError):
    """Another program listens on the port that the API should have."""


def require_free(host: str, port: int) -> None:
    """Check that the API's port can be bound.

    Raises:
        PortTakenError: another program has it, or the address is not this machine's.
    """
    try:
        _bound(host, port).close()
    except OSError as exc:
        message = (
            f"port {port} on {host} is taken ({exc.strerror}); "
            "stop the program that has it or choose another with --port"
        )
        raise PortTakenError(message) from exc


def free_ports(count: int) -> list[int]:
    """Find ports that are free on loopback at this moment, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(_bound("127.0.0.1", 0)) for _ in range(count)]
        return [int(found.getsockname()[1]) for found in sockets]


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except OSError:
        opened.close()
        raise
    return opened
