"""A task that writes for ever ends when it is cancelled, at whatever moment that comes."""

from __future__ import annotations

import asyncio
from typing import Never

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import REPLICA
from libs.contracts.subjects import REPLICAS_BUCKET
from libs.testing.nats_server import NatsServer
from libs.testing.records import a_lease

ROUNDS = 300
STEP_S = 0.000_02


async def write_for_ever(bus: NatsBus) -> Never:
    """Put one key again and again."""
    while True:
        await bus.put(REPLICAS_BUCKET, "m.r1", a_lease())


async def test_a_cancellation_is_never_swallowed_by_an_answer_that_comes_with_it(
    server: NatsServer,
) -> None:
    """The client library's wait drops a cancellation that meets its answer."""
    async with connect(server.settings(REPLICA)) as bus:
        for number in range(ROUNDS):
            writer = asyncio.create_task(write_for_ever(bus))
            await asyncio.sleep(number * STEP_S)

            writer.cancel()

            done, _ = await asyncio.wait([writer], timeout=30)
            assert done
