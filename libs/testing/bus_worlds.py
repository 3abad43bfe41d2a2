"""A bus together with the power over its world: the contract suite's two subjects."""

from __future__ import annotations

import asyncio
from typing import Protocol

from nats.aio.client import Client

from libs.bus.nats_bus import NatsBus
from libs.bus.permissions import ADMIN
from libs.contracts.subjects import bucket_subject
from libs.testing.clock import FakeClock
from libs.testing.in_memory_bus import InMemoryBus
from libs.testing.nats_server import NatsServer


class BusUnderTest(Protocol):
    """A bus and the power over its world."""

    @property
    def bus(self) -> InMemoryBus | NatsBus:
        """The bus itself."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        ...

    async def put_raw(self, bucket: str, key: str, body: bytes) -> None:
        """Write bytes that no program of ours would."""
        ...

    async def go_away(self) -> None:
        """End the server without a goodbye."""
        ...

    async def come_back(self, *, wiped: bool = False) -> None:
        """Start the server again."""
        ...


class InMemoryWorld:
    """The fake."""

    def __init__(self) -> None:
        """Start with a clock that stands still."""
        self.clock = FakeClock()
        self.bus = InMemoryBus(self.clock)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, between two turns of whoever waits for it."""
        await asyncio.sleep(0)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def put_raw(self, bucket: str, key: str, body: bytes) -> None:
        """Write bytes."""
        self.bus.put_raw(bucket, key, body)

    async def go_away(self) -> None:
        """Disconnect, for a while."""
        self.bus.disconnect()
        self.clock.advance(1)

    async def come_back(self, *, wiped: bool = False) -> None:
        """Reconnect."""
        if wiped:
            self.bus.wipe()
        self.bus.reconnect()


class NatsWorld:
    """The bus on nats-server."""

    def __init__(self, server: NatsServer, bus: NatsBus) -> None:
        """Use a running server."""
        self.server = server
        self.bus = bus

    async def pass_time(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def put_raw(self, bucket: str, key: str, body: bytes) -> None:
        """Write bytes past the codec."""
        way_in = self.server.credentials(ADMIN)
        client = Client()
        await client.connect(way_in.url, user=way_in.user, password=way_in.password)
        await client.jetstream().publish(bucket_subject(bucket, key), body)
        await client.close()

    async def go_away(self) -> None:
        """Kill the server."""
        await self.server.kill()

    async def come_back(self, *, wiped: bool = False) -> None:
        """Start the server."""
        if wiped:
            self.server.wipe()
        await self.server.start()
