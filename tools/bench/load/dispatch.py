"""Sends single requests over pooled connections and sees each through to its outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tools.bench.load.arrivals import RequestSpec
from tools.bench.load.connection import Clock, Pool
from tools.bench.load.exchange import Exchange
from tools.bench.load.plan import LoadPlan
from tools.bench.load.request_codec import RequestCodec
from tools.bench.load.samples import Ledger, Outcome


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """The way to one target.

    Attributes:
        measured: requests so far that are not part of the warm-up.
        cut_outcome: what a request becomes that is cancelled.
    """

    plan: LoadPlan
    ledger: Ledger
    clock: Clock
    measured: int = 0
    cut_outcome: Outcome = Outcome.UNFINISHED
    pool: Pool = field(init=False)
    _codec: RequestCodec = field(init=False)

    def __post_init__(self) -> None:
        """Make the pool and the codec that the plan asks for."""
        target, patience = self.plan.target, self.plan.patience
        self.pool = Pool(url=target.url, clock=self.clock, connect_s=patience.connect_s)
        self._codec = RequestCodec(target=target, body_bytes_min=self.plan.workload.body_bytes_min)

    def encode(self, spec: RequestSpec) -> bytes:
        """Return the bytes of a request; done before its time, so that it does not delay it."""
        return self._codec.encode(spec)

    async def dispatch(self, spec: RequestSpec, request: bytes, intended_s: float) -> Exchange:
        """Send a request and return its exchange when that has ended, however it has."""
        exchange = self._exchange(spec, intended_s)
        try:
            async with asyncio.timeout(self.plan.patience.request_s):
                await self._carry(exchange, request)
        except TimeoutError:
            exchange.fail(Outcome.TIMEOUT, self.clock())
        except asyncio.CancelledError:
            exchange.fail(self.cut_outcome, self.clock())
            raise
        return exchange

    def _exchange(self, spec: RequestSpec, intended_s: float) -> Exchange:
        is_measured = intended_s >= self.ledger.window.start_s
        self.measured += is_measured
        return Exchange(
            ledger=self.ledger,
            intended_s=intended_s,
            started_s=self.clock(),
            asked_tokens=spec.output_tokens,
            stream=self.plan.target.stream,
            keeps_gaps=is_measured,
        )

    async def _carry(self, exchange: Exchange, request: bytes) -> None:
        try:
            connection = await self.pool.take()
        except (OSError, TimeoutError) as exc:
            exchange.fail(Outcome.CONNECT, self.clock(), str(exc) or "not accepted in time")
            return
        try:
            await connection.carry(exchange, request)
        except asyncio.CancelledError:
            connection.abort()
            raise
        self.pool.give(connection)
