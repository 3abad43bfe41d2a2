"""Tenants from the bus to HAProxy: live, without a reload, kept when everything else is gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace

import httpx

from libs.contracts.subjects import TENANTS_BUCKET
from libs.contracts.tenant import OPEN_TO_ALL_KEY, OpenToAll, Tenant
from libs.testing.edge_world import EdgeWorld, haproxy_pid
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica
from libs.testing.real_haproxy import haproxy_in
from libs.testing.records import a_model, a_tenant

KEY: Mapping[str, str] = {"authorization": "Bearer sk-acme"}
OTHER: Mapping[str, str] = {"authorization": "Bearer sk-beta"}
NO_KEY: Mapping[str, str] = {}
ACME = a_tenant("acme", key="sk-acme")
BETA = a_tenant("beta", key="sk-beta")


async def ask(world: EdgeWorld, headers: Mapping[str, str]) -> httpx.Response:
    """Send one request with somebody's headers."""
    return await world.http.post("/v1/chat/completions", json={"model": "m"}, headers=headers)


async def until(world: EdgeWorld, expected: int, headers: Mapping[str, str]) -> None:
    """Wait until a request with these headers gets a status."""

    async def answered() -> bool:
        try:
            return (await ask(world, headers)).status_code == expected
        except httpx.HTTPError:
            return False

    await eventually(answered, what=f"a {expected}")


async def declare(world: EdgeWorld, *tenants: Tenant) -> None:
    """Write tenants as the command line does."""
    for tenant in tenants:
        await world.bus.put(TENANTS_BUCKET, tenant.name, tenant)


async def served_world(world: EdgeWorld) -> FakeReplica:
    """Give model `m` a replica and the edge a tenant."""
    replica = await world.replica("r1")
    await world.declare(a_model())
    await world.join(replica)
    await world.until_answers(200)
    await declare(world, ACME)
    await until(world, 401, NO_KEY)
    return replica


async def statuses(world: EdgeWorld) -> tuple[int, int]:
    """Return what a tenant gets, and what everybody else gets."""
    return (await ask(world, KEY)).status_code, (await ask(world, NO_KEY)).status_code


async def test_tenants_come_change_and_go_without_a_reload(world: EdgeWorld) -> None:
    """Each at once, and nobody else notices; the span names the tenant."""
    replica = await served_world(world)
    await declare(world, BETA)
    await until(world, 200, OTHER)

    await declare(world, replace(BETA, requests_per_minute=1))
    await until(world, 429, OTHER)
    await declare(world, replace(BETA, requests_per_minute=1000))
    await until(world, 200, OTHER)
    await declare(world, replace(BETA, key_hashes=()))
    await until(world, 401, OTHER)

    assert await statuses(world) == (200, 401)
    assert replica.seen[-1].headers["x-sluice-tenant"] == "acme"
    status = await world.status()
    assert status is not None
    assert (status.reloads, status.degraded) == (0, "")
    trace_id = replica.seen[-1].headers["traceparent"].split("-")[1]
    await eventually(lambda: _span_names(world, trace_id, "acme"), what="the tenant in the span")


async def test_revoking_the_last_tenant_lets_nobody_in_until_a_person_says_so(
    world: EdgeWorld,
) -> None:
    """Taking a key away is no invitation."""
    await served_world(world)

    await declare(world, replace(ACME, key_hashes=()))
    await until(world, 401, KEY)
    closed = await statuses(world)
    await world.bus.put(TENANTS_BUCKET, OPEN_TO_ALL_KEY, OpenToAll(declared_at=1.0))
    await until(world, 200, NO_KEY)

    assert closed == (401, 401)


async def test_a_haproxy_that_starts_from_the_files_alone_knows_its_tenants(
    world: EdgeWorld,
) -> None:
    """Neither NATS nor router-config is there to ask."""
    await served_world(world)
    await world.router_config.stop()
    await world.nats.kill()

    async with haproxy_in(world.folder / "state"):
        await world.until_up()
        alone = await statuses(world)

    assert alone == (200, 401)


async def test_a_killed_haproxy_is_back_with_its_tenants(world: EdgeWorld) -> None:
    """And was open to nobody in between."""
    await served_world(world)

    os.kill(haproxy_pid(world.folder), signal.SIGKILL)
    await until(world, 200, KEY)

    assert await statuses(world) == (200, 401)


async def test_a_killed_and_emptied_bus_neither_opens_nor_closes_the_edge(
    world: EdgeWorld,
) -> None:
    """The edge goes on with the tenants that it knew, also after a start, and says so."""
    await served_world(world)
    await world.nats.kill()
    world.nats.wipe()
    await world.nats.start()

    async def told() -> bool:
        status = await world.status()
        return status is not None and "tenants: " in status.degraded

    await eventually(told, what="lost tenants in the status")
    before = await statuses(world)
    await world.router_config.stop()
    await world.router_config.start()
    await world.until_up()
    await until(world, 200, KEY)

    assert (before, await statuses(world)) == ((200, 401), (200, 401))


async def test_an_edge_that_never_heard_the_bus_lets_nobody_in(idle_world: EdgeWorld) -> None:
    """Nobody knows whether there are tenants; once the bus says that there are none, it opens."""
    world = idle_world
    await world.nats.kill()
    await world.router_config.start()
    await world.until_up()

    unknown = [(await ask(world, headers)).status_code for headers in (KEY, NO_KEY)]
    listed = (await world.http.get("/v1/models")).status_code
    await world.nats.start()
    await until(world, 404, NO_KEY)

    assert (unknown, listed) == ([503, 503], 503)


async def test_tenants_changed_by_hand_are_put_right(world: EdgeWorld) -> None:
    """HAProxy is read back; an edit that gets no version is found with the next read at last."""
    await served_world(world)

    for number, line in enumerate(
        (
            "clear map tenants.map",
            "set map tenants.map access open",
            "add map tenants.map access open",
        )
    ):
        _, writer = await asyncio.open_unix_connection(str(world.folder / "run" / "admin.sock"))
        writer.write(f"{line}\n".encode())
        await writer.drain()
        writer.close()
        await declare(world, a_tenant("beta", key=f"sk-{number}"))

        await until(world, 401, NO_KEY)
        await until(world, 200, {"authorization": f"Bearer sk-{number}"})
        assert await statuses(world) == (200, 401)


async def test_a_tenant_that_cannot_be_read_does_not_open_the_edge(world: EdgeWorld) -> None:
    """What a newer version wrote is something, if not known what."""
    await served_world(world)

    await world.bus.put(TENANTS_BUCKET, "acme", a_model())
    await declare(world, BETA)
    await until(world, 200, OTHER)

    assert await statuses(world) == (200, 401)


async def _span_names(world: EdgeWorld, trace_id: str, tenant: str) -> bool:
    for file in (world.folder / "traces").glob("*.jsonl"):
        for line in file.read_text().splitlines():
            if trace_id in line and '"sluice.tenant"' in line:
                return json.dumps({"stringValue": tenant}) in json.dumps(json.loads(line))
    return False
