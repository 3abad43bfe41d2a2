"""A TCP port on loopback that is free at this moment."""

from __future__ import annotations

import random
import socket
from typing import Final

_FIRST: Final = 15_000
_LAST: Final = 32_000
"""Below the ports that Linux gives to outgoing connections, one of which would take it in between.

Source: Linux, Documentation/networking/ip-sysctl.rst, ip_local_port_range.
"""

_TRIES_MAX: Final = 1_000


def free_port() -> int:
    """Find a port that nobody has, and leave it at once.

    Raises:
        OSError: there is none.
    """
    for port in random.SystemRandom().choices(range(_FIRST, _LAST), k=_TRIES_MAX):
        if _is_free(port):
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
