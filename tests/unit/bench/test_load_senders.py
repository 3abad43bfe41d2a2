"""A closed loop's clients send inside the run's time, however late its timer is."""

import asyncio
from itertools import count

from tools.bench.load.arrivals import Shard, requests_of
from tools.bench.load.dispatch import Dispatcher
from tools.bench.load.exchange import Exchange
from tools.bench.load.lengths import Fixed
from tools.bench.load.plan import (
    ClosedLoop,
    Endpoint,
    Extent,
    LoadPlan,
    OutputLength,
    Patience,
    Slo,
    Target,
    Workload,
)
from tools.bench.load.samples import Ledger, Outcome, Window
from tools.bench.load.senders import ClosedSender, Flights
from tools.bench.load.shard import Ended

PLAN = LoadPlan(
    target=Target(
        url="http://127.0.0.1:1",
        model="m",
        endpoint=Endpoint.COMPLETIONS,
        stream=True,
        output_length=OutputLength.AT_MOST,
    ),
    arrivals=ClosedLoop(clients=1),
    workload=Workload(prompt_tokens=Fixed(tokens=8), output_tokens=Fixed(tokens=5)),
    extent=Extent(warmup_s=0.0, duration_s=0.1, requests=None),
    slo=Slo(ttft_s=5.0),
    patience=Patience(),
    processes=1,
)


async def test_no_request_is_intended_after_the_end() -> None:
    """An answer that comes at the end, in the same turn as the timer, is the last."""
    intended: list[float] = []
    ends = (number / 64 for number in count(1))

    class Answered(Dispatcher):
        async def dispatch(self, spec: object, request: bytes, intended_s: float) -> Exchange:
            intended.append(intended_s)
            await asyncio.sleep(0)
            now_s = next(ends)
            exchange = Exchange(
                ledger=self.ledger,
                intended_s=intended_s,
                started_s=intended_s,
                asked_tokens=5,
                stream=True,
                keeps_gaps=True,
            )
            exchange.outcome, exchange.end_s = Outcome.OK, now_s
            return exchange

    ledger = Ledger(window=Window(start_s=0.0, end_s=PLAN.extent.window_end_s))
    dispatcher = Answered(plan=PLAN, ledger=ledger, clock=lambda: 0.0)
    sender = ClosedSender(
        dispatcher=dispatcher,
        specs=requests_of(PLAN, Shard(index=0, of=1)),
        extent=PLAN.extent,
        clients=1,
        requests=None,
        origin_s=0.0,
    )
    async with asyncio.TaskGroup() as group:
        ended = await sender.send(Flights(group=group))

    assert ended is Ended.DURATION
    assert intended == [number / 64 for number in range(7)]
