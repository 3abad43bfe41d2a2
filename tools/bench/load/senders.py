"""The two ways to say when a request goes out: clients that wait, or a schedule that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from tools.bench.load.alarm import Alarm
from tools.bench.load.arrivals import RequestSpec
from tools.bench.load.dispatch import Dispatcher
from tools.bench.load.plan import Extent
from tools.bench.load.samples import Outcome
from tools.bench.load.shard import Ended

FAILURE_PAUSE_S: Final = 0.1
"""A client of a closed loop rests this long after a failure, or it would only count refusals."""


@dataclass(slots=True, kw_only=True)
class Flights:
    """The tasks of requests and clients that are under way."""

    group: asyncio.TaskGroup
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Begin a piece of work."""
        task = self.group.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._forget)

    async def until_fewer_than(self, count: int) -> None:
        """Wait until there is room."""
        while len(self.tasks) >= count:
            self._freed.clear()
            await self._freed.wait()

    async def until_none(self, timeout_s: float) -> None:
        """Wait until all are done, or the time is over."""
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=timeout_s)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._freed.set()


class Sender(Protocol):
    """Starts requests until the run's extent is reached, and says what ended it."""

    held: int

    async def send(self, flights: Flights) -> Ended:
        """Return when nothing more will be sent; requests may still be under way."""
        ...


@dataclass(slots=True, kw_only=True)
class ClosedSender:
    """Clients that send their next request when the answer before has ended.

    Attributes:
        requests: this process's part of the number of requests; None has no such limit.
        origin_s: the start, on `time.monotonic`.
    """

    dispatcher: Dispatcher
    specs: Iterator[RequestSpec]
    extent: Extent
    clients: int
    requests: int | None
    origin_s: float
    held: int = 0
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, flights: Flights) -> Ended:
        """Run the clients."""
        for _ in range(self.clients):
            flights.start(self._client())
        await self._until_over()
        if not self._over.is_set():
            self._over.set()
            return Ended.DURATION
        return Ended.SAMPLES_FULL if self.dispatcher.ledger.is_full else Ended.REQUESTS

    async def _until_over(self) -> None:
        left_s = None
        if self.extent.duration_s is not None:
            left_s = self.extent.window_end_s - self.dispatcher.clock()
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._over.wait()

    async def _client(self) -> None:
        """Send one request after the other; the clock ends it too, for timers may be late."""
        intended_s = 0.0
        while not self._over.is_set() and intended_s < self.extent.window_end_s:
            if self._is_spent():
                self._over.set()
                return
            spec = next(self.specs)
            request = self.dispatcher.encode(spec)
            exchange = await self.dispatcher.dispatch(spec, request, intended_s)
            intended_s = exchange.end_s
            if exchange.outcome is not Outcome.OK:
                await asyncio.sleep(FAILURE_PAUSE_S)
                intended_s = self.dispatcher.clock()

    def _is_spent(self) -> bool:
        used_up = self.requests is not None and self.dispatcher.measured >= self.requests
        return used_up or self.dispatcher.ledger.is_full


@dataclass(slots=True, kw_only=True)
class OpenSender:
    """Requests at their intended times, whatever became of those before.

    Attributes:
        in_flight_max: bound on requests under way; at the bound a request is held, and the time
            counts as the generator's lag.
    """

    dispatcher: Dispatcher
    specs: Iterator[RequestSpec]
    extent: Extent
    in_flight_max: int
    origin_s: float
    held: int = 0

    async def send(self, flights: Flights) -> Ended:
        """Follow the schedule."""
        alarm = Alarm()
        try:
            for spec in self.specs:
                if self.dispatcher.ledger.is_full:
                    return Ended.SAMPLES_FULL
                await self._one(spec, flights, alarm)
            return await self._ended(alarm)
        finally:
            alarm.close()

    async def _one(self, spec: RequestSpec, flights: Flights, alarm: Alarm) -> None:
        request, at_s = self.dispatcher.encode(spec), spec.at_s or 0.0
        await alarm.until(self.origin_s + at_s)
        if len(flights.tasks) >= self.in_flight_max:
            self.held += 1
            await flights.until_fewer_than(self.in_flight_max)
        flights.start(self._request(spec, request, at_s))

    async def _request(self, spec: RequestSpec, request: bytes, intended_s: float) -> None:
        await self.dispatcher.dispatch(spec, request, intended_s)

    async def _ended(self, alarm: Alarm) -> Ended:
        if self.extent.requests is not None:
            return Ended.REQUESTS
        if self.extent.duration_s is None:
            return Ended.TRACE
        await alarm.until(self.origin_s + self.extent.window_end_s)
        return Ended.DURATION
