"""Each service's NATS user can do its job and nothing else, asked of a real server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Never

import pytest

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import ADMIN, AUTOSCALER, CLI, REPLICA, ROUTER_CONFIG
from libs.bus.ports import Record
from libs.contracts.events import Fact, ReplicaJoined, RoutingApplied, Stamp
from libs.contracts.failing import AutoscalerTrouble
from libs.contracts.ids import EdgeId, EventId, Incarnation, ModelName, ReplicaId
from libs.contracts.leader import LeaderClaim
from libs.contracts.reports import RoutingStatus
from libs.contracts.targets import DecidedTarget, ManualTarget, ScaleReason
from libs.errors import PeerUnreachableError, PermissionDeniedError
from libs.testing.nats_server import NatsServer
from libs.testing.records import (
    a_fact,
    a_failing_model,
    a_lease,
    a_load_report,
    a_model,
    a_tenant,
)

STAMP = Stamp(event_id=EventId("e" * 32), occurred_at=1.0, source="test")
M = ModelName("m")
MANUAL = ManualTarget(model=M, replicas=2, set_at=1.0)
DECIDED = DecidedTarget(model=M, replicas=2, reason=ScaleReason.MINIMUM, decided_at=1.0)
CLAIM = LeaderClaim(service="autoscaler", holder="h", claimed_at=1.0)
ROUTING = RoutingStatus(
    edge_id=EdgeId("e"), revision=1, applied_at=1.0, haproxy_version="2.8", haproxy_pid=1,
    reloads=0, servers_ready=1,
)  # fmt: skip
JOINED = ReplicaJoined(
    stamp=STAMP, model=M, replica_id=ReplicaId("r1"), incarnation=Incarnation("0a1b2c3d"),
    address="127.0.0.1:1", start_duration_s=1.0,
)  # fmt: skip
APPLIED = RoutingApplied(
    stamp=STAMP, edge_id=EdgeId("e"), revision=1, commands=1, duration_s=0.1, servers_added=(),
    servers_removed=(),
)  # fmt: skip

WRITES: list[tuple[str, str, Record, str]] = [
    ("replicas", "m.r1", a_lease(), REPLICA),
    ("models", "m", a_model(), CLI),
    ("tenants", "acme", a_tenant(), CLI),
    ("targets", "manual.m", MANUAL, CLI),
    ("targets", "decided.m", DECIDED, AUTOSCALER),
    ("targets", "failing.m", a_failing_model(), AUTOSCALER),
    ("targets", "trouble", AutoscalerTrouble(cause="away", since=1.0), AUTOSCALER),
    ("leaders", "autoscaler", CLAIM, AUTOSCALER),
    ("routing", "e", ROUTING, ROUTER_CONFIG),
]
USERS = (ROUTER_CONFIG, REPLICA, AUTOSCALER, CLI)


@pytest.mark.parametrize(("bucket", "key", "value", "owner"), WRITES)
async def test_a_record_is_written_by_its_owner_and_nobody_else(
    server: NatsServer, bucket: str, key: str, value: Record, owner: str
) -> None:
    """The owner may put, refresh with a TTL and delete; every other service is refused."""
    async with AsyncExitStack() as stack:
        buses = {user: await open_bus(stack, server, user) for user in USERS}
        for user, bus in buses.items():
            if user != owner:
                with pytest.raises(PermissionDeniedError):
                    await bus.put(bucket, key, value)
        revision = await buses[owner].put(bucket, key, value, ttl_s=5)
        admin = await open_bus(stack, server, ADMIN)

        found = await admin.get(bucket, key)

        assert found is not None
        assert found.revision == revision
        await buses[owner].delete(bucket, key)


@pytest.mark.parametrize(
    ("user", "buckets"),
    [
        (ROUTER_CONFIG, ["replicas", "models", "tenants", "targets"]),
        (AUTOSCALER, ["models", "targets", "replicas"]),
        (CLI, ["models", "tenants", "targets", "replicas", "routing", "leaders"]),
    ],
)
async def test_a_service_views_the_buckets_that_it_follows(
    server: NatsServer, user: str, buckets: list[str]
) -> None:
    """A view opens, shows what is there and follows changes, with that user's own rights."""
    async with AsyncExitStack() as stack:
        bus = await open_bus(stack, server, user)
        views = [await stack.enter_async_context(bus.view(bucket)) for bucket in buckets]

        assert all(view.snapshot().connected_since for view in views)


async def test_a_replica_cannot_follow_buckets(server: NatsServer) -> None:
    """It reads its own lease and nothing that others wrote."""
    async with connect(server.settings(REPLICA)) as bus:
        await bus.put("replicas", "m.r1", a_lease())

        assert await bus.get("replicas", "m.r1") is not None
        with pytest.raises(PeerUnreachableError):
            async with bus.view("models"):
                pass


@pytest.mark.parametrize(
    ("fact", "owner"),
    [(JOINED, REPLICA), (APPLIED, ROUTER_CONFIG), (a_fact(), AUTOSCALER)],
)
async def test_a_fact_is_recorded_by_the_service_that_saw_it(
    server: NatsServer, fact: Fact, owner: str
) -> None:
    """Nobody records on behalf of others; `cli` reads them all."""
    async with AsyncExitStack() as stack:
        for user in USERS:
            bus = await open_bus(stack, server, user)
            if user == owner:
                await bus.record(fact)
            else:
                with pytest.raises(PermissionDeniedError):
                    await bus.record(fact)
        reader = await open_bus(stack, server, CLI)

        assert [stored.value async for stored in reader.facts()] == [fact]


@pytest.mark.parametrize("user", [AUTOSCALER, ROUTER_CONFIG])
async def test_who_decides_by_load_hears_what_replicas_report(
    server: NatsServer, user: str
) -> None:
    """Reports pass from one user to another."""
    async with (
        connect(server.settings(REPLICA)) as replica,
        connect(server.settings(user)) as listener,
        listener.reports("load.>") as reports,
    ):
        sender = asyncio.create_task(_report_for_ever(replica))

        async with asyncio.timeout(30):
            heard = await anext(reports)

        sender.cancel()
        assert heard.value == a_load_report()


async def _report_for_ever(bus: NatsBus) -> Never:
    """Send as a replica does: what goes out before anybody listens is lost."""
    while True:
        await bus.report(a_load_report())
        await asyncio.sleep(0.1)


async def open_bus(stack: AsyncExitStack, server: NatsServer, user: str) -> NatsBus:
    """Connect as a user."""
    return await stack.enter_async_context(connect(server.settings(user)))
