"""Replicas come and go under load, models are declared and removed: nobody notices."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from libs.contracts.events import RoutingApplied
from libs.contracts.lease import ReplicaState
from libs.contracts.reports import DemandReport
from libs.contracts.subjects import DEMAND_SUBJECTS, MODELS_BUCKET
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.records import a_model

STREAM = {"model": "m", "stream": True}


@dataclass(slots=True)
class Load:
    """What streaming clients saw."""

    whole: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


async def stream_once(http: httpx.AsyncClient, load: Load) -> None:
    """Read one answer to its end."""
    try:
        async with http.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
    except httpx.HTTPError as error:
        load.failed.append(repr(error))
        return
    if answer.status_code == httpx.codes.OK and lines[-1] == "data: [DONE]":
        load.whole[answer.headers["x-sluice-replica"]] += 1
    else:
        load.failed.append(f"{answer.status_code} {lines}")


@asynccontextmanager
async def streaming(http: httpx.AsyncClient, *, clients: int) -> AsyncIterator[Load]:
    """Run clients that stream one answer after the other beside the body."""
    load, over = Load(), asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            await stream_once(http, load)

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        yield load
    finally:
        over.set()
        await asyncio.gather(*tasks)


def working(replica: FakeReplica, requests: int) -> Callable[[], Awaitable[bool]]:
    """Return what tells whether a replica works on so many requests."""

    async def does() -> bool:
        return replica.active == requests

    return does


async def test_replicas_join_and_leave_under_load_without_a_failed_request(
    world: EdgeWorld,
) -> None:
    """Streams that run when their replica leaves are finished by it; HAProxy is never reloaded."""
    script = Script(tokens=10, token_s=0.02)
    steady, guest = await world.replica("r1", script), await world.replica("r2", script)
    await world.declare(a_model())
    await world.join(steady)
    await world.until_answers(200)

    async with streaming(world.http, clients=8) as load:
        for turn in range(4):
            await world.join(guest, incarnation=f"{turn:08x}")
            await world.until_servers(2)
            await asyncio.sleep(0.3)
            await world.say(world.leases["r2"], ReplicaState.DRAINING)
            await world.until_servers(1)
            await eventually(working(guest, 0), what="an idle guest")
            await world.forget(guest)

    status = await world.until_servers(1)
    assert load.failed == []
    assert load.whole["r1"] > 10
    assert load.whole["r2"] > 10
    assert status.reloads == 0
    assert status.degraded == ""


async def test_a_ready_replica_is_reached_at_once(world: EdgeWorld) -> None:
    """From the lease to the first answer."""
    replica = await world.replica("r1")
    await world.declare(a_model())
    await world.until_answers(503)

    began = time.monotonic()
    await world.join(replica)
    await world.until_answers(200)

    assert time.monotonic() - began < 1.0


async def test_a_declared_model_is_listed_and_unavailable_until_it_has_a_replica(
    world: EdgeWorld,
) -> None:
    """Unknown, unavailable and served are three different answers."""
    await world.until_answers(404)
    await world.declare(a_model())
    answer = await world.until_answers(503)

    listed = (await world.http.get("/v1/models")).json()

    assert int(answer.headers["retry-after"]) >= 1
    assert [card["id"] for card in listed["data"]] == ["m"]


async def test_a_removed_model_is_unknown_when_its_last_replica_has_left(
    world: EdgeWorld,
) -> None:
    """Until then its clients are served."""
    replica = await world.replica("r1")
    await world.declare(a_model())
    await world.join(replica)
    await world.until_answers(200)

    await world.bus.delete(MODELS_BUCKET, "m")
    await asyncio.sleep(0.5)
    still = await world.ask()
    await world.say(world.leases["r1"], ReplicaState.DRAINING)
    await world.until_answers(404)

    async def unlisted() -> bool:
        return bool((await world.http.get("/v1/models")).json()["data"] == [])

    assert still.status_code == 200
    # Routes and listing are two maps, committed one right after the other.
    await eventually(unlisted, what="an empty list")


async def test_a_long_stream_is_finished_by_its_draining_replica(world: EdgeWorld) -> None:
    """And then its server is gone from HAProxy."""
    replica = await world.replica("r1", Script(tokens=20, token_s=0.1))
    await world.declare(a_model())
    await world.join(replica)
    await world.until_servers(1)
    load = Load()
    running = asyncio.create_task(stream_once(world.http, load))
    await eventually(working(replica, 1), what="a running stream")

    await world.say(world.leases["r1"], ReplicaState.DRAINING)
    refused = await world.until_answers(503)
    await running

    assert refused.status_code == 503
    assert load.failed == []
    assert load.whole["r1"] == 1


async def test_every_change_is_a_fact(world: EdgeWorld) -> None:
    """The stream tells which servers came and went, and that nothing was reloaded."""
    await world.declare(a_model("other"))
    replica = await world.replica("r1")
    await world.join(replica)
    await world.until_answers(200)
    await world.say(world.leases["r1"], ReplicaState.STOPPED)
    await world.until_answers(404)

    async def facts() -> list[RoutingApplied]:
        found = [fact.value async for fact in world.bus.facts()]
        applied = [fact for fact in found if isinstance(fact, RoutingApplied)]
        return applied if any(fact.servers_removed for fact in applied) else []

    applied = await eventually(facts, what="a removal in FACTS")
    assert [f.servers_added for f in applied if f.servers_added] == [("r1.0a1b2c3d",)]
    assert [f.servers_removed for f in applied if f.servers_removed] == [("r1.0a1b2c3d",)]
    assert all(f.reload_reasons == () for f in applied)
    revisions = [f.revision for f in applied]
    assert revisions == sorted(set(revisions))


async def test_demand_tells_what_waits_and_what_was_refused(world: EdgeWorld) -> None:
    """A model without replicas is wanted too."""
    await world.declare(a_model())
    await world.until_listed("m")
    for _ in range(2):
        await world.ask()

    report = await refusals(world, at_least=2)

    assert (report.model, report.edge_id, report.queued) == ("m", "edge", 0)


async def refusals(world: EdgeWorld, *, at_least: int) -> DemandReport:
    """Listen until the edge reports this many refused requests."""
    async with world.bus.reports(DEMAND_SUBJECTS) as reports, asyncio.timeout(10):
        async for received in reports:
            report = received.value
            assert isinstance(report, DemandReport)
            if report.refused_count is not None and report.refused_count >= at_least:
                return report
    raise AssertionError("the reports ended")
