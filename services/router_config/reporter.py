"""Reports how the edge stands: demand and status on change, and every now and then."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import Final, Never, Protocol

from libs.clock import Clock
from libs.contracts.ids import EdgeId
from libs.contracts.reports import DemandReport, RoutingStatus
from libs.telemetry.logging import get_logger
from services.router_config.domain.access import is_from_before
from services.router_config.domain.model import (
    Admin,
    FrontEnds,
    Health,
    Observed,
    ObservedServer,
    PoolName,
    main_of,
)
from services.router_config.domain.pairs import pair_up
from services.router_config.outbox import Outbox
from services.router_config.ports import EdgeView, PoolDemand
from services.router_config.service import Standing

OBJECTIONS_SHOWN_MAX: Final = 3
"""Refused leases that the status lists; a replica can write any number of them."""

_FORGOTTEN: Final = "the bus has none, the edge goes on with those it knew"

_log = get_logger(__name__)


class Loop(Protocol):
    """What is reported."""

    def standing(self) -> Standing:
        """Return how things stand after the last look."""
        ...

    async def looked(self) -> None:
        """Wait until the loop has looked again since the last call."""
        ...

    async def holding_changed(self) -> None:
        """Wait until a pool has begun or ceased to hold requests since the last call."""
        ...


class Degradation(StrEnum):
    """Which part keeps the edge from being what the bus says."""

    EDGE = "edge"
    RELOAD = "reload"
    FILES = "files"
    CERTIFICATE = "certificate"
    BUS = "bus"
    MODELS = "models"
    TENANTS = "tenants"
    LEASES = "leases"


class Reporter:
    """Turns the loop's standing into what the bus carries."""

    def __init__(self, loop: Loop, outbox: Outbox, *, edge_id: EdgeId, clock: Clock) -> None:
        """Take where to read and where to send."""
        self._loop = loop
        self._outbox = outbox
        self._edge_id = edge_id
        self._clock = clock
        self._told: Standing | None = None
        self._dropped_spans = 0

    async def report_status(self, *, every_s: float) -> Never:
        """Write the status when it changed, and at least this often."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._changed()
            standing = self._loop.standing()
            self._told = standing
            status = routing_status(standing, edge_id=self._edge_id, now=self._clock.now())
            await self._outbox.status(status)

    async def report_demand(self, *, every_s: float) -> Never:
        """Send one report for each routed model this often, and at once when holding changes."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._loop.holding_changed()
            standing = self._loop.standing()
            if standing.view is not None and not standing.trouble:
                reports = demand_reports(
                    standing.view, edge_id=self._edge_id, now=self._clock.now()
                )
                await self._outbox.demand(reports)
                self._warn_of_dropped(standing.view)

    def _warn_of_dropped(self, view: EdgeView) -> None:
        """HAProxy counts the lines that its log socket did not take; a new HAProxy begins at 0."""
        if view.dropped_spans > self._dropped_spans:
            _log.warning("spans_dropped", count=view.dropped_spans - self._dropped_spans)
        self._dropped_spans = view.dropped_spans

    async def _changed(self) -> None:
        while True:
            await self._loop.looked()
            if self._told is None or _gist(self._told) != _gist(self._loop.standing()):
                return


def routing_status(standing: Standing, *, edge_id: EdgeId, now: float) -> RoutingStatus:
    """Return the status record."""
    view = standing.view
    return RoutingStatus(
        edge_id=edge_id,
        revision=standing.counters.revision,
        applied_at=standing.counters.applied_at,
        haproxy_version=view.version if view else "",
        haproxy_pid=view.pid if view and not standing.trouble else None,
        reloads=standing.counters.reloads,
        servers_ready=_ready(view.observed) if view else 0,
        unplaced=standing.unplaced,
        degraded=_degraded(standing),
        observed_at=now,
    )


def demand_reports(view: EdgeView, *, edge_id: EdgeId, now: float) -> tuple[DemandReport, ...]:
    """Return a report for each model that has a pool."""
    models = view.observed.models_by_pool()
    return tuple(
        DemandReport(
            model=models[pool],
            edge_id=edge_id,
            queued=demand.queued,
            held=demand.held,
            refused_count=demand.refused_count,
            observed_at=now,
        )
        for pool, demand in demand_by_pool(view).items()
        if pool in models
    )


def demand_by_pool(view: EdgeView) -> dict[PoolName, PoolDemand]:
    """Return what waits and was refused in each main pool and its twin together."""
    found: dict[PoolName, PoolDemand] = {}
    for each in view.demand:
        pool = main_of(each.pool)
        before = found.get(pool)
        found[pool] = PoolDemand(
            pool=pool,
            queued=each.queued + (before.queued if before else 0),
            held=each.held + (before.held if before else 0),
            refused_count=each.refused_count + (before.refused_count if before else 0),
        )
    return found


def _gist(standing: Standing) -> tuple[object, ...]:
    """What makes a status worth writing at once."""
    pid = standing.view.pid if standing.view else None
    ready = _ready(standing.view.observed) if standing.view else 0
    return (standing.counters, pid, ready, standing.unplaced, _degraded(standing))


def _ready(observed: Observed) -> int:
    """Count the replicas that can take all requests of their model."""
    routes = observed.routes.by_route
    divided = {route.pool for route in routes if route.front_ends is FrontEnds.SPLIT}
    return sum(
        _is_able(pair.twin) and (_is_able(pair.main) or pool not in divided)
        for (pool, _), pair in pair_up(observed.servers).items()
    )


def _is_able(seen: ObservedServer | None) -> bool:
    return seen is not None and seen.admin is Admin.READY and seen.health is not Health.DOWN


def degradations(standing: Standing) -> dict[Degradation, str]:
    """Return what is not as it should be, each with what to tell a person."""
    observed = standing.view.observed if standing.view else None
    routes_kept = standing.known.models_lost and observed and observed.routes
    access_kept = observed and is_from_before(standing.known.tenants, observed.access)
    away = standing.known.connected_for_s is None
    told = {
        Degradation.EDGE: standing.trouble,
        Degradation.RELOAD: standing.reload_trouble,
        Degradation.FILES: standing.files_trouble,
        Degradation.CERTIFICATE: standing.certificate_trouble,
        Degradation.BUS: "away" if away else "",
        Degradation.MODELS: _FORGOTTEN if routes_kept else "",
        Degradation.TENANTS: _FORGOTTEN if access_kept else "",
        Degradation.LEASES: _few(standing.known.objections),
    }
    return {each: text for each, text in told.items() if text}


def _few(texts: tuple[str, ...]) -> str:
    """Say the first of them, and how many there are beyond."""
    beyond = len(texts) - OBJECTIONS_SHOWN_MAX
    more = (f"and {beyond} more",) if beyond > 0 else ()
    return ", ".join((*texts[:OBJECTIONS_SHOWN_MAX], *more))


def _degraded(standing: Standing) -> str:
    return "; ".join(f"{each}: {text}" for each, text in degradations(standing).items())
