"""Two HAProxys, each with its own router-config, on one bus: one ring, and no common fate."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from libs.contracts.model_spec import RoutingPolicy, RoutingSpec
from libs.contracts.reports import DemandReport
from libs.contracts.subjects import DEMAND_SUBJECTS
from libs.testing.edge_world import EdgeWorld, haproxy_pid
from libs.testing.records import a_model

SESSIONS = 200
PREFIX = replace(a_model(), routing=RoutingSpec(policy=RoutingPolicy.PREFIX), aliases=("default",))


@pytest.fixture
async def other(world: EdgeWorld) -> EdgeWorld:
    """Offer a second edge beside `world`."""
    return await world.another("edge-2")


async def ring(edge: EdgeWorld) -> dict[str, str]:
    """Return which replica each session is sent to."""
    found = {}
    for number in range(SESSIONS):
        session = f"session-{number}"
        answer = await edge.http.post(
            "/v1/chat/completions", json={"model": "m"}, headers={"x-session-id": session}
        )
        found[session] = answer.headers.get("x-sluice-replica", f"{answer.status_code}")
    return found


async def routes(edge: EdgeWorld) -> str:
    """Return the names that an edge routes, as its file has them."""
    return await asyncio.to_thread((edge.folder / "state" / "models.map").read_text)


async def test_a_session_meets_the_same_replica_at_both_edges(
    world: EdgeWorld, other: EdgeWorld
) -> None:
    """After a join too, and the join moves nothing but the new replica's own share."""
    await world.declare(PREFIX)
    for name in ("r1", "r2", "r3"):
        await world.join(await world.replica(name))
    for edge in (world, other):
        await edge.until_servers(3)
    before = await asyncio.gather(ring(world), ring(other))

    await world.join(await world.replica("r4"))
    for edge in (world, other):
        await edge.until_servers(4)
    after = await asyncio.gather(ring(world), ring(other))

    assert before[0] == before[1]
    assert set(before[0].values()) == {"r1", "r2", "r3"}
    assert after[0] == after[1]
    moved = {session for session, replica in before[0].items() if after[0][session] != replica}
    assert {after[0][session] for session in moved} == {"r4"}
    assert 0 < len(moved) < SESSIONS / 2
    assert await routes(world) == await routes(other)


async def test_an_edge_that_comes_later_has_the_same_ring(world: EdgeWorld) -> None:
    """Places on the ring depend on the replicas' names alone, not on who joined when."""
    await world.declare(PREFIX)
    for name in ("r3", "r1", "r2"):
        await world.join(await world.replica(name))
        await asyncio.sleep(0.2)
    await world.until_servers(3)

    late = await world.another("edge-2")
    await late.until_servers(3)

    assert await ring(late) == await ring(world)


async def test_one_edges_end_is_nothing_to_the_other(world: EdgeWorld, other: EdgeWorld) -> None:
    """Neither its HAProxy nor its router-config is missed, and membership goes on."""
    await world.declare(PREFIX)
    await world.join(await world.replica("r1"))
    for edge in (world, other):
        await edge.until_servers(1)
    pid = haproxy_pid(other.folder)

    await world.router_config.stop()
    answers = [await other.ask() for _ in range(10)]
    second = await world.replica("r2")
    await world.join(second)
    status = await other.until_servers(2)

    assert {answer.status_code for answer in answers} == {200}
    assert haproxy_pid(other.folder) == pid
    assert (status.edge_id, status.degraded, status.reloads) == ("edge-2", "", 0)


async def test_each_edge_reports_its_own_status_and_demand(
    world: EdgeWorld, other: EdgeWorld
) -> None:
    """What one edge refused is not the other's."""
    await world.declare(PREFIX)
    asked = {"edge": 3, "edge-2": 1}
    for edge in (world, other):
        await edge.until_listed("m")
        for _ in range(asked[edge.edge_id]):
            await edge.ask()

    refused: dict[str, int] = {}
    async with world.bus.reports(DEMAND_SUBJECTS) as reports, asyncio.timeout(10):
        async for received in reports:
            report = received.value
            assert isinstance(report, DemandReport)
            refused[report.edge_id] = report.refused_count or 0
            if refused == asked:
                break

    status = [await edge.status() for edge in (world, other)]
    assert [each.edge_id for each in status if each] == ["edge", "edge-2"]
    assert len({each.haproxy_pid for each in status if each}) == 2
