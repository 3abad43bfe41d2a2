"""A TCP port on loopback that is free at this moment."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Ask the kernel for a port and give it back at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
