"""What goes to the bus without anybody waiting for it: facts, demand and the edge's status."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Never

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from libs.bus.ports import EventBus, StateStore
from libs.contracts.events import RoutingApplied
from libs.contracts.reports import DemandReport, RoutingStatus
from libs.contracts.subjects import ROUTING_BUCKET
from libs.errors import ControlPlaneError, TransientError
from libs.telemetry.logging import get_logger

FACTS_MAX: Final = 256
"""While the bus is away the oldest facts beyond this are dropped: they are history, not state."""

STATUS_TTL_S: Final = 15.0
_RETRY_S: Final = 1.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """A fact with the trace in which it happened."""

    fact: RoutingApplied
    context: Context


class Outbox:
    """Sends in the background; a bus that is away costs nothing but what it would have heard."""

    def __init__(self, store: StateStore, events: EventBus) -> None:
        """Start empty."""
        self._store = store
        self._events = events
        self._facts: deque[_Letter] = deque(maxlen=FACTS_MAX)
        self._filled = asyncio.Event()

    def post(self, fact: RoutingApplied) -> None:
        """Send a fact, under the trace that is current at this moment."""
        self._facts.append(_Letter(fact=fact, context=otel_context.get_current()))
        self._filled.set()

    async def deliver(self) -> Never:
        """Send facts in order, each until it is stored."""
        while True:
            await self._filled.wait()
            while self._facts:
                letter = self._facts[0]
                if not await self._sent(letter):
                    await asyncio.sleep(_RETRY_S)
                elif self._facts and self._facts[0] is letter:
                    self._facts.popleft()
            self._filled.clear()

    async def status(self, status: RoutingStatus) -> None:
        """Write the edge's status; a lost one is followed by the next."""
        try:
            await self._store.put(ROUTING_BUCKET, status.edge_id, status, ttl_s=STATUS_TTL_S)
        except ControlPlaneError as error:
            _log.debug("status_unsent", error=str(error))

    async def demand(self, reports: tuple[DemandReport, ...]) -> None:
        """Send reports; lost ones are followed by the next."""
        try:
            for report in reports:
                await self._events.report(report)
        except ControlPlaneError as error:
            _log.debug("demand_unsent", error=str(error))

    async def _sent(self, letter: _Letter) -> bool:
        token = otel_context.attach(letter.context)
        try:
            await self._events.record(letter.fact)
        except TransientError as error:
            _log.debug("fact_unsent", error=str(error))
            return False
        except ControlPlaneError as error:
            _log.error("fact_refused", error=str(error), event_id=letter.fact.stamp.event_id)
        finally:
            otel_context.detach(token)
        return True
