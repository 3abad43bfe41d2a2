"""The configuration of a HAProxy that only spreads requests over fixed servers (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_BASE: Final = """\
global
    maxconn 4000
    nbthread 1

defaults
    mode http
    option http-no-delay
    option redispatch 1
    http-reuse always
    timeout connect 5s
    timeout client 3600s
    timeout server 600s
    timeout http-keep-alive 60s

frontend api
    bind 127.0.0.1:{port}
    default_backend servers

backend servers
    balance leastconn
    option httpchk GET /health
"""


def render_static(port: int, servers: Sequence[int]) -> str:
    """Return the file for a port and the servers' ports; one thread, as Sluice's HAProxy has."""
    lines = [
        f"    server s{number} 127.0.0.1:{server} check inter 2s"
        for number, server in enumerate(servers, start=1)
    ]
    return _BASE.format(port=port) + "\n".join(lines) + "\n"
