"""How a replica is asked who it is: by health checks, and before it gets a server.

A port of a dead replica may be another process's by now, and answer. So a health check names the
server that it is for, `<replica id>.<incarnation>`, and only the answer of that very incarnation
counts. vLLM's Rust front end does not know its name: the replica's Python application answers for
both, and asks the Rust program where `x-sluice-front-end` says so.
"""

from __future__ import annotations

from typing import Final

HEALTH_PATH: Final = "/health"

SERVER_HEADER: Final = "x-sluice-server"
"""Says which server a health check is for."""

REPLICA_HEADER: Final = "x-sluice-replica"
"""Says in every answer of a replica who it is, as HAProxy names its server."""

FRONT_END_HEADER: Final = "x-sluice-front-end"
"""In a health check, which front end beside the Python application must answer as well."""

RUST: Final = "rust"
