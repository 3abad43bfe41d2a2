"""Tells the bus what the replica says of itself, for as long as it lives, bus or no bus.

The lease is written every second and at once when it changes. While the bus is away the writes
fail, which costs one log line, and serving goes on. Facts wait in a short queue and keep their
event id, so that none is stored twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Never

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from libs.bus.ports import EventBus, StateStore
from libs.clock import Clock, wait_for_event
from libs.contracts.events import Fact
from libs.contracts.lease import LEASE_REFRESH_S, LEASE_TTL_S, ReplicaLease
from libs.contracts.reports import LoadReport
from libs.contracts.subjects import REPLICAS_BUCKET, lease_key
from libs.errors import ControlPlaneError
from libs.telemetry.logging import get_logger

PENDING_FACTS_MAX: Final = 8
"""A replica has two facts to tell in its life; beyond this the oldest make room."""

_log = get_logger(__name__)


class Announcer:
    """The replica's voice on the bus."""

    def __init__(self, store: StateStore, bus: EventBus, clock: Clock, lease: ReplicaLease) -> None:
        """Take the first lease; nothing is written before `keep`."""
        self._store = store
        self._bus = bus
        self._clock = clock
        self._lease = lease
        self._context = Context()
        self._due = asyncio.Event()
        self._pending_facts: deque[Fact] = deque(maxlen=PENDING_FACTS_MAX)
        self._bus_is_away = False

    def say(self, lease: ReplicaLease, *facts: Fact, context: Context) -> None:
        """Have the lease and the facts written soon; they carry the trace of `context`."""
        self._lease = lease
        self._context = context
        self._pending_facts.extend(facts)
        self._due.set()

    async def keep(self) -> Never:
        """Write the lease every second and whenever there is something new to say."""
        while True:
            self._due.clear()
            await self.write()
            await wait_for_event(self._clock, self._due, timeout_s=LEASE_REFRESH_S)

    async def write(self) -> None:
        """Write the lease and the facts that wait; returns also when the bus is away."""
        token = otel_context.attach(self._context)
        try:
            await self._write_lease()
            await self._write_facts()
        except ControlPlaneError as exc:
            self._note_bus(away=True, why=str(exc))
        else:
            self._note_bus(away=False)
        finally:
            otel_context.detach(token)

    async def report(self, report: LoadReport) -> None:
        """Send a load report; one that does not get through is lost."""
        try:
            await self._bus.report(report)
        except ControlPlaneError as exc:
            self._note_bus(away=True, why=str(exc))

    async def _write_lease(self) -> None:
        key = lease_key(self._lease.model, self._lease.replica_id)
        await self._store.put(REPLICAS_BUCKET, key, self._lease, ttl_s=LEASE_TTL_S)

    async def _write_facts(self) -> None:
        while self._pending_facts:
            await self._bus.record(self._pending_facts[0])
            self._pending_facts.popleft()

    def _note_bus(self, *, away: bool, why: str = "") -> None:
        if away and not self._bus_is_away:
            _log.warning("bus_away", why=why)
        if self._bus_is_away and not away:
            _log.info("bus_back")
        self._bus_is_away = away
