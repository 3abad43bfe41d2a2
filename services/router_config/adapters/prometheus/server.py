"""Answers Prometheus on loopback: metrics, and the list of replicas whose metrics it can fetch."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from libs.contracts.lease import ReplicaLease, ReplicaState
from libs.errors import UsageError

METRICS_HOST: Final = "127.0.0.1"
_CLIENT_TIMEOUT_S: Final = 10.0
_SERVING: Final = (ReplicaState.READY, ReplicaState.DRAINING)


class MetricsServer:
    """Serves `/metrics` and `/replicas` from a thread of its own; port 0 serves nothing."""

    def __init__(
        self,
        registry: CollectorRegistry,
        leases: Callable[[], Iterable[ReplicaLease]],
        *,
        port: int,
    ) -> None:
        """Nothing listens yet."""
        self._application = _application(make_wsgi_app(registry), leases)
        self._port = port
        self._server: ThreadingWSGIServer | None = None

    def open(self) -> None:
        """Listen on loopback.

        Raises:
            UsageError: the port is taken.
        """
        if not self._port:
            return
        try:
            self._server = make_server(
                METRICS_HOST,
                self._port,
                self._application,
                server_class=ThreadingWSGIServer,
                handler_class=_Handler,
            )
        except OSError as exc:
            raise UsageError(
                f"Cannot serve metrics on {METRICS_HOST}:{self._port}: {exc.strerror}. Set"
                " SLUICE_ROUTER_CONFIG_METRICS_PORT to another port, or to 0 for none."
            ) from exc
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening; closing what is not open is no error."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Handler(WSGIRequestHandler):
    """Silent, and patient for a bounded time only."""

    timeout = _CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Log nothing: a scrape is no event."""


def scrape_targets(leases: Iterable[ReplicaLease]) -> list[dict[str, object]]:
    """Return what Prometheus' HTTP service discovery reads: one group for each serving replica.

    Source: Prometheus, HTTP SD format.
    """
    return [
        {
            "targets": [str(lease.address)],
            "labels": {"model": lease.model, "replica": lease.replica_id},
        }
        for lease in sorted(leases, key=lambda lease: (lease.model, lease.replica_id))
        if lease.address is not None and lease.state in _SERVING
    ]


def _application(
    metrics: WSGIApplication, leases: Callable[[], Iterable[ReplicaLease]]
) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        if path == "/replicas":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(scrape_targets(leases())).encode()]
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/metrics or /replicas\n"]

    return answer
