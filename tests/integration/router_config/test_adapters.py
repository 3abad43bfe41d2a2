"""An adapter's name follows its replicas' leases into a real HAProxy, and out of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from libs.contracts.model_spec import AdapterSpec, EngineSpec, ModelSpec
from libs.testing.edge_world import EdgeWorld
from libs.testing.fake_replica import FakeReplica
from libs.testing.records import a_model


def a_model_with(*adapters: str) -> ModelSpec:
    """Return the model's declaration with adapters."""
    return replace(
        a_model(),
        adapters=tuple(AdapterSpec(name=name, source="/adapters") for name in adapters),
        engine=EngineSpec(max_loras=2),
    )


async def load(world: EdgeWorld, replica: FakeReplica, *adapters: str) -> None:
    """Let a replica's lease list these adapters."""
    await world.say(replace(world.leases[replica.name], adapters=adapters))


@asynccontextmanager
async def asking(world: EdgeWorld) -> AsyncIterator[list[int]]:
    """Ask for the model itself, one request after the other, beside the body."""
    statuses: list[int] = []
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            statuses.append((await world.ask()).status_code)

    task = asyncio.create_task(client())
    try:
        yield statuses
    finally:
        over.set()
        await task


async def test_an_adapters_name_waits_for_the_last_replica_and_goes_with_its_declaration(
    world: EdgeWorld,
) -> None:
    """Requests for the model succeed all the while, and nothing is reloaded."""
    first, second = await world.replica("r1"), await world.replica("r2")
    await world.declare(a_model_with())
    for replica in (first, second):
        await world.join(replica)
    await world.until_servers(2)

    async with asking(world) as others:
        await world.declare(a_model_with("sql"))
        await load(world, first, "sql")
        await asyncio.sleep(0.5)
        early = [(await world.ask("sql")).status_code for _ in range(4)]
        await load(world, second, "sql")
        await world.until_answers(200, model="sql")
        answers = await asyncio.gather(*(world.ask("sql") for _ in range(20)))
        card = (await world.http.get("/v1/models")).json()["data"][-1]
        await world.declare(a_model_with())
        await world.until_answers(404, model="sql")
        late = [(await world.ask("sql")).status_code for _ in range(4)]

    status = await world.status()
    assert early == [404] * 4
    assert {answer.headers["x-sluice-replica"] for answer in answers} == {"r1", "r2"}
    assert (card["id"], card["root"], card["parent"]) == ("sql", "sql", "m")
    assert late == [404] * 4
    assert set(others) == {200}
    assert status is not None
    assert status.reloads == 0


async def test_a_replica_that_comes_without_an_adapter_takes_its_name_and_nothing_else(
    world: EdgeWorld,
) -> None:
    """It says what it lacks; when it has it, the name is back."""
    first, second = await world.replica("r1"), await world.replica("r2")
    await world.declare(a_model_with("sql"))
    await world.join(first)
    await load(world, first, "sql")
    await world.until_answers(200, model="sql")

    await world.join(second)
    await world.until_answers(404, model="sql")
    await world.until_answers(200, by=second)
    await load(world, second, "sql")

    await world.until_answers(200, model="sql", by=second)


async def test_an_adapter_stays_routed_when_every_lease_is_lost(world: EdgeWorld) -> None:
    """Unknown is not without."""
    replica = await world.replica("r1")
    await world.declare(a_model_with("sql"))
    await world.join(replica)
    await load(world, replica, "sql")
    await world.until_answers(200, model="sql")

    await world.forget(replica)
    await asyncio.sleep(1.5)

    assert (await world.ask("sql")).status_code == 200
