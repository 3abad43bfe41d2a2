"""The gauges of router-config: how things stand at the moment in which Prometheus asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from libs.contracts.lease import ReplicaState
from services.router_config.domain.model import Admin, ObservedServer
from services.router_config.domain.pairs import pair_up
from services.router_config.metrics import (
    BUS_AWAY,
    BUS_CONNECTED,
    DEGRADED,
    HELD,
    LEASES,
    PREFIX,
    ROUTING_REVISION,
    SERVERS,
    Metric,
)
from services.router_config.reporter import Degradation, degradations, demand_by_pool
from services.router_config.service import Standing


class Loop(Protocol):
    """Who knows how things stand."""

    def standing(self) -> Standing:
        """Return how things stand after the last look."""
        ...


_Samples = Iterable[tuple[tuple[str, ...], float]]
"""Label values and a number, one for each line."""


class StandingCollector(Collector):
    """Reads one immutable standing for each question, from whatever thread asks."""

    def __init__(self, loop: Loop) -> None:
        """Take where to read."""
        self._loop = loop

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return every gauge of the catalogue."""
        standing = self._loop.standing()
        known = standing.known
        degraded = degradations(standing)
        away = [] if known.away_for_s is None else [((), known.away_for_s)]
        yield _gauge(ROUTING_REVISION, [((), standing.counters.revision)])
        yield _gauge(LEASES, _leases(standing))
        yield _gauge(SERVERS, _servers(standing))
        yield _gauge(HELD, _held(standing))
        yield _gauge(BUS_CONNECTED, [((), float(known.connected_for_s is not None))])
        yield _gauge(BUS_AWAY, away)
        yield _gauge(DEGRADED, [((each,), float(each in degraded)) for each in Degradation])


def _leases(standing: Standing) -> _Samples:
    counts = Counter(lease.state for lease in standing.known.leases)
    return [((state,), float(counts[state])) for state in ReplicaState]


def _servers(standing: Standing) -> _Samples:
    servers = standing.view.observed.servers if standing.view else ()
    counts = Counter(
        (pool, server_state(pair.seen)) for (pool, _), pair in pair_up(servers).items()
    )
    return [((pool, state), float(count)) for (pool, state), count in sorted(counts.items())]


def _held(standing: Standing) -> _Samples:
    if standing.view is None:
        return []
    routed = standing.view.observed.models_by_pool()
    demand = demand_by_pool(standing.view)
    return [((pool,), float(each.held)) for pool, each in demand.items() if pool in routed]


def server_state(seen: ObservedServer) -> str:
    """Return a server's label: what was asked of it, else what its checks say."""
    return (seen.health if seen.admin is Admin.READY else seen.admin).value


def _gauge(metric: Metric, samples: _Samples) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + metric.name, metric.meaning, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
