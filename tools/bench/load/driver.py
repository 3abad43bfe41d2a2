"""One process's run from its start to its samples: send, drain, and watch oneself meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tools.bench.load import meters
from tools.bench.load.arrivals import Shard, requests_of
from tools.bench.load.dispatch import Dispatcher
from tools.bench.load.plan import ClosedLoop, LoadPlan
from tools.bench.load.samples import Ledger, Outcome, Window, freeze
from tools.bench.load.senders import ClosedSender, Flights, OpenSender, Sender
from tools.bench.load.shard import Ended, Progress, ShardResult

PROGRESS_S: Final = 0.25
LAG_PROBE_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One process's work.

    Attributes:
        in_flight_max: bound on open connections.
    """

    plan: LoadPlan
    shard: Shard
    in_flight_max: int


@dataclass(slots=True, kw_only=True)
class Watch:
    """Looks at the generator while it works.

    Attributes:
        sending_over: set when the last request has been sent.
    """

    dispatcher: Dispatcher
    flights: Flights
    tell: Callable[[Progress], None]
    sending_over: asyncio.Event = field(default_factory=asyncio.Event)
    before: meters.Reading | None = None
    after: meters.Reading | None = None
    lags_s: array[float] = field(default_factory=lambda: array("d"))

    async def report(self) -> None:
        """Tell how it gets on, until cancelled."""
        ledger = self.dispatcher.ledger
        while True:
            await asyncio.sleep(PROGRESS_S)
            self.tell(
                Progress(
                    elapsed_s=self.dispatcher.clock(),
                    finished=ledger.finished,
                    failed=ledger.failed,
                    in_flight=len(self.flights.tasks),
                    text_events=ledger.events,
                )
            )

    async def measure(self) -> None:
        """Read the meters when the window begins; probe the loop's lateness while it lasts."""
        clock = self.dispatcher.clock
        await asyncio.sleep(self.dispatcher.ledger.window.start_s - clock())
        self.before = meters.read()
        while not self.sending_over.is_set():
            due_s = clock() + LAG_PROBE_S
            await asyncio.sleep(LAG_PROBE_S)
            self.lags_s.append(max(0.0, clock() - due_s))

    def effort(self) -> meters.Effort | None:
        """Return what the window took; None when it never began."""
        if self.before is None or self.after is None:
            return None
        return self.before.until(self.after)


async def drive(
    job: Job, *, origin_s: float, stop: asyncio.Event, tell: Callable[[Progress], None]
) -> ShardResult:
    """Send one process's share from `origin_s` (on `time.monotonic`) until its end or `stop`."""
    extent = job.plan.extent
    ledger = Ledger(window=Window(start_s=extent.warmup_s, end_s=extent.window_end_s))
    dispatcher = Dispatcher(plan=job.plan, ledger=ledger, clock=lambda: time.monotonic() - origin_s)
    sender = sender_of(job, dispatcher, origin_s=origin_s)
    await asyncio.sleep(-dispatcher.clock())
    async with asyncio.TaskGroup() as group:
        flights = Flights(group=group)
        watch = Watch(dispatcher=dispatcher, flights=flights, tell=tell)
        around = [group.create_task(work) for work in (watch.report(), watch.measure())]
        ended = await _send_and_drain(group, sender, watch, stop)
        for task in (*around, *flights.tasks):
            task.cancel()
    dispatcher.pool.close()
    return ShardResult(
        samples=freeze(ledger),
        ended=ended,
        over_s=dispatcher.clock(),
        effort=watch.effort(),
        loop_lags_s=watch.lags_s,
        niceness=os.getpriority(os.PRIO_PROCESS, 0),
        connections=dispatcher.pool.opened,
        held=sender.held,
    )


def sender_of(job: Job, dispatcher: Dispatcher, *, origin_s: float) -> Sender:
    """Return the sender that the plan's arrivals ask for."""
    plan, shard = job.plan, job.shard
    specs = requests_of(plan, shard)
    if isinstance(plan.arrivals, ClosedLoop):
        budget = plan.extent.requests
        return ClosedSender(
            dispatcher=dispatcher,
            specs=specs,
            extent=plan.extent,
            clients=shard.share(plan.arrivals.clients),
            requests=None if budget is None else shard.share(budget),
            origin_s=origin_s,
        )
    return OpenSender(
        dispatcher=dispatcher,
        specs=specs,
        extent=plan.extent,
        in_flight_max=job.in_flight_max,
        origin_s=origin_s,
    )


async def _send_and_drain(
    group: asyncio.TaskGroup, sender: Sender, watch: Watch, stop: asyncio.Event
) -> Ended:
    stopping = group.create_task(_wait(stop))
    sending = group.create_task(sender.send(watch.flights))
    await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
    ended = sending.result() if sending.done() else Ended.INTERRUPTED
    watch.sending_over.set()
    if ended in {Ended.DURATION, Ended.INTERRUPTED}:
        watch.after = meters.read()
    drain_s = watch.dispatcher.plan.patience.drain_s
    draining = group.create_task(watch.flights.until_none(drain_s))
    await asyncio.wait({draining, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        ended, watch.dispatcher.cut_outcome = Ended.INTERRUPTED, Outcome.INTERRUPTED
    watch.after = watch.after or meters.read()
    for task in (sending, draining, stopping):
        task.cancel()
    return ended


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
