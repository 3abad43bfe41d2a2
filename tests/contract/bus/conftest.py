"""The suite's subjects: the bus in memory, and the bus on a real nats-server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from libs.bus.nats_bus import connect
from libs.bus.permissions import ADMIN
from libs.testing.bus_worlds import BusUnderTest, InMemoryWorld, NatsWorld
from libs.testing.nats_server import nats_server


@pytest.fixture(params=["in_memory", "nats_server"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BusUnderTest]:
    """Offer the fake first, then the real one."""
    if request.param == "in_memory":
        yield InMemoryWorld()
        return
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server(tmp_path))
        bus = await stack.enter_async_context(connect(server.settings(ADMIN)))
        yield NatsWorld(server, bus)
