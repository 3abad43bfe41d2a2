"""Answers Prometheus on loopback: router-config's metrics, the list of replicas, and theirs.

`/replicas` sends Prometheus here for each replica, to `/replicas/<model>/<replica>/metrics`: a
replica on unix sockets has no port, and one elsewhere need not let Prometheus in.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from libs.contracts.lease import ReplicaLease, ReplicaState
from libs.errors import PeerUnreachableError, UsageError
from services.router_config.adapters.prometheus.replica_metrics import ReplicaMetrics

METRICS_HOST: Final = "127.0.0.1"
_CLIENT_TIMEOUT_S: Final = 10.0
_SERVING: Final = (ReplicaState.READY, ReplicaState.DRAINING)
_PLAIN: Final = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
_PREFIX: Final = "/replicas/"
_SUFFIX: Final = "/metrics"


class MetricsServer:
    """Serves from threads of its own; port 0 serves nothing."""

    def __init__(
        self,
        registry: CollectorRegistry,
        leases: Callable[[], Iterable[ReplicaLease]],
        *,
        port: int,
    ) -> None:
        """Nothing listens yet."""
        self._application = _application(make_wsgi_app(registry), leases, port=port)
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


def scrape_targets(leases: Iterable[ReplicaLease], *, port: int) -> list[dict[str, object]]:
    """Return what Prometheus' HTTP service discovery reads: one group for each serving replica.

    Source: Prometheus, HTTP SD format; `__metrics_path__` in its configuration manual.
    """
    return [
        {
            "targets": [f"{METRICS_HOST}:{port}"],
            "labels": {
                "__metrics_path__": metrics_path(lease),
                "instance": f"{lease.model}/{lease.replica_id}",
                "model": lease.model,
                "replica": lease.replica_id,
            },
        }
        for lease in sorted(leases, key=lambda lease: (lease.model, lease.replica_id))
        if _is_serving(lease)
    ]


def metrics_path(lease: ReplicaLease) -> str:
    """Return where a replica's metrics are handed on."""
    return f"{_PREFIX}{quote(lease.model)}/{quote(lease.replica_id)}{_SUFFIX}"


def _is_serving(lease: ReplicaLease) -> bool:
    return lease.address is not None and lease.state in _SERVING


def _application(
    metrics: WSGIApplication, leases: Callable[[], Iterable[ReplicaLease]], *, port: int
) -> WSGIApplication:
    replicas = ReplicaMetrics()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        if path == "/replicas":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(scrape_targets(leases(), port=port)).encode()]
        lease = _asked_replica(path, leases())
        if lease is not None:
            return _hand_on(replicas, lease, start_response)
        start_response("404 Not Found", [_PLAIN])
        return [b"/metrics, /replicas or /replicas/MODEL/REPLICA/metrics\n"]

    return answer


def _asked_replica(path: str, leases: Iterable[ReplicaLease]) -> ReplicaLease | None:
    """Find the replica that a path names."""
    if not path.startswith(_PREFIX) or not path.endswith(_SUFFIX):
        return None
    model, _, replica = path.removeprefix(_PREFIX).removesuffix(_SUFFIX).rpartition("/")
    named = (each for each in leases if (each.model, each.replica_id) == (model, replica))
    return next((each for each in named if _is_serving(each)), None)


def _hand_on(
    replicas: ReplicaMetrics, lease: ReplicaLease, start_response: StartResponse
) -> Iterable[bytes]:
    try:
        text = replicas.of(lease)
    except PeerUnreachableError as error:
        start_response("502 Bad Gateway", [_PLAIN])
        return [f"{error}\n".encode()]
    start_response("200 OK", [_PLAIN])
    return [text.encode()]
