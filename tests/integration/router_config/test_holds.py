"""A model without replicas: its requests wait, the bus hears of it, the first replica gets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx

from libs.bus.ports import Received
from libs.contracts.reports import DemandReport
from libs.contracts.subjects import DEMAND_SUBJECTS, TARGETS_BUCKET, failing_key
from libs.haproxy.config import WHOLE_BODY_BYTES
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.real_haproxy import haproxy_in
from libs.testing.records import a_failing_model, a_model

NEVER_S = 60
"""Longer than a test takes: what happens earlier was told, not found."""


async def holding_world(world: EdgeWorld, **settings: object) -> None:
    """Start an edge that holds, with a model that has no replica."""
    await world.declare(a_model(replicas_min=0))
    await world.router_config.start(**settings)
    await world.until_up()
    await world.until_listed("m")


async def until_held(reports: AsyncIterator[Received], count: int) -> DemandReport:
    """Listen until the edge says that it holds this many requests."""
    async with asyncio.timeout(10):
        async for received in reports:
            report = received.value
            if isinstance(report, DemandReport) and report.held == count:
                return report
    raise AssertionError("the reports ended")


async def test_held_requests_are_told_and_go_to_the_first_replica(idle_world: EdgeWorld) -> None:
    """Whole; both ends of holding are on the bus without anybody looking."""
    world = idle_world
    await holding_world(world, hold_timeout_s=30, demand_s=NEVER_S, resync_s=NEVER_S)

    async with world.bus.reports(DEMAND_SUBJECTS) as reports:
        first = asyncio.create_task(world.ask())
        demand = await until_held(reports, 1)
        more = [asyncio.create_task(world.ask()) for _ in range(4)]
        large = {"model": "m", "prompt": "x" * (WHOLE_BODY_BYTES - 1000)}
        more.append(asyncio.create_task(world.http.post("/v1/completions", json=large)))
        replica = await world.replica("r1")
        await world.join(replica)
        answers = await asyncio.gather(first, *more)
        await until_held(reports, 0)

    assert (demand.model, demand.edge_id, demand.queued) == ("m", "edge", 0)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert [json.loads(each.body) for each in replica.seen].count(large) == 1


async def test_a_model_that_nobody_declared_is_not_waited_for(idle_world: EdgeWorld) -> None:
    """Unknown is unknown, at once."""
    world = idle_world
    await holding_world(world, hold_timeout_s=30)

    answer = await asyncio.wait_for(world.ask("nobody"), 5)

    assert answer.status_code == 404


async def test_the_limits_are_the_settings(idle_world: EdgeWorld) -> None:
    """One is held for a second, the next is refused."""
    world = idle_world
    await holding_world(world, hold_timeout_s=1, holds_per_model_max=1)

    async with world.bus.reports(DEMAND_SUBJECTS) as reports:
        waiting = asyncio.create_task(world.ask())
        await until_held(reports, 1)
    refused = await world.ask()
    still_waiting = not waiting.done()
    late = await waiting

    assert (refused.status_code, late.status_code) == (503, 503)
    assert still_waiting


async def test_haproxy_alone_holds_too(idle_world: EdgeWorld) -> None:
    """Everything that it needs is in the state directory."""
    world = idle_world
    await holding_world(world, hold_timeout_s=1)
    await world.router_config.stop()
    await world.nats.kill()

    async with haproxy_in(world.folder / "state"):
        await world.until_up()
        with_held = asyncio.create_task(world.ask())
        await asyncio.sleep(0.3)
        still_waiting = not with_held.done()
        answer = await with_held

    assert still_waiting
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.headers["retry-after"]


async def test_a_model_that_fails_is_refused_at_once_and_served_when_it_comes(
    idle_world: EdgeWorld,
) -> None:
    """What waits already is answered as well; nothing is reloaded, and other models are held."""
    world = idle_world
    await world.declare(a_model("other", replicas_min=0))
    await holding_world(world, hold_timeout_s=60)
    async with world.bus.reports(DEMAND_SUBJECTS) as reports:
        waiting = asyncio.create_task(world.ask())
        await until_held(reports, 1)

    failing = a_failing_model(error="no such file")
    await world.bus.put(TARGETS_BUCKET, failing_key(failing.model), failing)
    held = await asyncio.wait_for(waiting, 10)
    refused = await asyncio.wait_for(world.ask(), 5)
    other = asyncio.create_task(world.ask("other"))
    await world.join(await world.replica("r1"))

    async def served() -> bool:
        return (await world.ask()).is_success

    await eventually(served, what="an answer of the replica")
    status = await world.status()

    for answer in (held, refused):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert "`m` does not start: no such file" in answer.json()["error"]["message"]
    assert not other.done()
    assert status is not None
    assert status.reloads == 0
    other.cancel()


async def test_haproxy_alone_knows_which_models_fail(idle_world: EdgeWorld) -> None:
    """It stands in the state directory, from which a HAProxy starts without anybody's help."""
    world = idle_world
    await holding_world(world, hold_timeout_s=60)
    failing = a_failing_model()
    await world.bus.put(TARGETS_BUCKET, failing_key(failing.model), failing)
    refused = await asyncio.wait_for(world.ask(), 10)
    await world.router_config.stop()

    async with haproxy_in(world.folder / "state"):
        await world.until_up()
        alone = await asyncio.wait_for(world.ask(), 5)

    assert [refused.json()["error"]["code"], alone.json()["error"]["code"]] == ["model_failing"] * 2
