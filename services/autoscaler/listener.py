"""Listens to what edges report; a report about a model that nobody serves wakes the loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from libs.bus.ports import EventBus
from libs.clock import Clock
from libs.contracts.ids import ModelName
from libs.contracts.reports import DemandReport
from libs.contracts.subjects import DEMAND_SUBJECTS
from services.autoscaler.domain.demand import Demand, hear, unserved


class DemandListener:
    """The demand as last reported."""

    def __init__(self, events: EventBus, clock: Clock) -> None:
        """Start with nothing known."""
        self._events = events
        self._clock = clock
        self._demand = Demand()
        self._wake = asyncio.Event()

    async def follow(self) -> None:
        """Listen until cancelled; a bus that is away says nothing, and then nothing is known."""
        async with self._events.reports(DEMAND_SUBJECTS) as incoming:
            async for received in incoming:
                if isinstance(received.value, DemandReport):
                    self._hear(received.value)

    def unserved(self, model: ModelName) -> int | None:
        """Return how many requests a model's clients wait for; None when no edge has said."""
        return unserved(self._demand, model, now=self._clock.monotonic())

    async def changed(self, *, timeout_s: float) -> bool:
        """Wait until a model is wanted that was not; False at the time limit."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
                self._wake.clear()
                return True
        return False

    def _hear(self, report: DemandReport) -> None:
        before = self.unserved(report.model)
        self._demand = hear(self._demand, report, now=self._clock.monotonic())
        if self.unserved(report.model) and not before:
            self._wake.set()
