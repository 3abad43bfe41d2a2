"""Which TCP ports a stack takes: the API's is the user's word, the others are free ones.

A part that is restarted comes back on its own port, and nothing holds that port meanwhile. So free
ports are chosen outside the range from which the kernel serves outgoing connections and listeners
that ask for any port. Source: ip(7), ip_local_port_range.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from libs.errors import UsageError

_KERNELS_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
"""Below are the ports of well-known services, and of most that people start by hand."""

_HIGHEST: Final = 65_535
_CHOICES_MIN: Final = 1_000
"""Where fewer ports are left, the kernel chooses: two stacks would meet among them."""

_TRIES: Final = 200


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
    kernels = _kernels_range()
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            opened = stack.enter_context(_free(kernels))
            port = int(opened.getsockname()[1])
            # Linux lets several sockets that do not listen yet have one port (SO_REUSEADDR).
            if port not in found:
                found.append(port)
    return found


def choices(kernels: range) -> list[int]:
    """Return the ports outside the kernel's range; none where too few are left."""
    left = [port for port in range(_LOWEST, _HIGHEST + 1) if port not in kernels]
    return left if len(left) >= _CHOICES_MIN else []


def _free(kernels: range) -> socket.socket:
    for port in _drawn(choices(kernels)):
        with suppress(OSError):
            return _bound("127.0.0.1", port)
    return _bound("127.0.0.1", 0)


def _drawn(ports: list[int]) -> Iterator[int]:
    return (secrets.choice(ports) for _ in range(_TRIES if ports else 0))


def _kernels_range() -> range:
    """Return the kernel's range; one that cannot be read is taken for all ports."""
    try:
        first, last = map(int, _KERNELS_RANGE.read_text().split())
    except (OSError, ValueError):
        return range(_HIGHEST + 1)
    return range(first, last + 1)


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
