"""Lets weights follow the load that replicas report, beside the loop and without waking it.

A report costs one entry in a table. Once a second the table is compared with the weights that the
loop saw last, and only weights that are far enough off are set. Nothing of it is written down:
a HAProxy that starts from disk begins with equal weights.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Never, Protocol

from libs.bus.ports import EventBus
from libs.clock import Clock
from libs.contracts.ids import ModelName, ReplicaId
from libs.contracts.reports import LoadReport
from libs.contracts.subjects import LOAD_SUBJECTS
from libs.errors import ControlPlaneError, TransientError
from libs.telemetry.logging import get_logger
from services.router_config.domain.weights import Loads, weigh
from services.router_config.ports import Done, Edge, EdgeView
from services.router_config.service import Standing

FRESH_S: Final = 5.0
"""A replica reports once a second; what is older than this is unknown. Counted from its arrival,
because clocks of different machines differ."""

REPLICAS_MAX: Final = 10_000
"""Beyond it a replica that was not heard before is left out, and so keeps its weight."""

_RETRY_S: Final = 10.0

_log = get_logger(__name__)


class Loop(Protocol):
    """Who looks at the edge."""

    def standing(self) -> Standing:
        """Return how things stand after the last look."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """A report and when it came, monotonic time in seconds."""

    report: LoadReport
    at: float


class LoadTable:
    """The last report of each replica."""

    def __init__(self) -> None:
        """Start empty."""
        self._heard: dict[tuple[ModelName, ReplicaId], _Heard] = {}

    def take(self, report: LoadReport, now: float) -> None:
        """Remember a report instead of the replica's one before."""
        key = (report.model, report.replica_id)
        if key in self._heard or len(self._heard) < REPLICAS_MAX:
            self._heard[key] = _Heard(report=report, at=now)

    def fresh(self, now: float) -> Loads:
        """Return what is known at a time, and forget the rest."""
        self._heard = {k: heard for k, heard in self._heard.items() if now - heard.at <= FRESH_S}
        return {key: heard.report for key, heard in self._heard.items()}


class Weigher:
    """Adjusts the weights of one edge."""

    def __init__(self, loop: Loop, edge: Edge, *, events: EventBus, clock: Clock) -> None:
        """Take where to read, what to change, and where replicas report."""
        self._loop = loop
        self._edge = edge
        self._events = events
        self._clock = clock
        self._loads = LoadTable()
        self._weighed: EdgeView | None = None

    async def follow(self) -> Never:
        """Take reports in; a bus that does not let it listen costs an edge nothing but weights."""
        while True:
            try:
                await self._listen()
            except ControlPlaneError as error:
                _log.warning("load_unheard", error=str(error))
            await asyncio.sleep(_RETRY_S)

    async def _listen(self) -> None:
        async with self._events.reports(LOAD_SUBJECTS) as reports:
            async for received in reports:
                if isinstance(received.value, LoadReport):
                    self._loads.take(received.value, self._clock.monotonic())

    async def adjust_for_ever(self, *, every_s: float) -> Never:
        """Adjust at most this often."""
        while True:
            await asyncio.sleep(every_s)
            await self.adjust()

    async def adjust(self) -> int:
        """Set the weights that are off and return how many; each look at the edge counts once."""
        standing = self._loop.standing()
        view = standing.view
        loads = self._loads.fresh(self._clock.monotonic())
        if view is None or view is self._weighed or standing.trouble:
            return 0
        self._weighed = view
        actions = weigh(view.observed, loads)
        try:
            outcomes = await self._edge.apply_all(actions)
        except TransientError as error:
            _log.debug("weights_unset", error=str(error))
            return 0
        done = sum(isinstance(outcome, Done) for outcome in outcomes)
        if actions:
            weights = {f"{a.key.pool}/{a.key.name}": a.weight for a in actions}
            _log.debug("weights_set", weights=weights, refused=len(actions) - done)
        return done
