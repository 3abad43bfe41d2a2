"""A replica's HTTP layer inside vLLM's own API server, loaded there by `--middleware`."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import NoOpTracer

from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.middleware import (
    App,
    Receive,
    ReplicaMiddleware,
    Scope,
    Send,
)

COUNTERS_PATH: Final = "/collective_rpc"
"""How the measurement asks the simulated device; a real replica's layer closes it."""


class ReplicaLayer:
    """What lies between HAProxy and vLLM in a replica."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._layer = ReplicaMiddleware(app, door=HttpDoor(), tracer=NoOpTracer())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as a replica does, but let the measurement through."""
        inner = scope.get("path") == COUNTERS_PATH
        await (self._app if inner else self._layer)(scope, receive, send)
