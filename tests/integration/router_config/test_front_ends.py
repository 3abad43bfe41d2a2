"""Replicas with two front ends on unix sockets, in a real HAProxy."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

from libs.contracts.lease import ReplicaState
from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import ShowServersState
from libs.haproxy.tables import parse_servers_state
from libs.testing.edge_world import EdgeWorld, haproxy_pid
from libs.testing.eventually import eventually
from libs.testing.fake_replica import Script
from libs.testing.records import a_model

PYTHON_ONLY = {"model": "m", "n": 2}


async def server_by(world: EdgeWorld, body: dict[str, object]) -> str | None:
    """Ask, and return which front end answered."""
    found = await world.http.post("/v1/chat/completions", json=body)
    server: str | None = found.headers.get("x-sluice-replica")
    return server


async def places(world: EdgeWorld) -> set[str]:
    """Return `pool/server` of every server of pools and twins."""
    client = HaproxyClient(world.folder / "run" / "admin.sock", timeout_s=5)
    states = parse_servers_state(await client.query(ShowServersState()))
    return {f"{s.pool}/{s.name}" for s in states if s.pool[:2] in ("lc", "px")}


async def until_places(world: EdgeWorld, *expected: str) -> None:
    """Wait until exactly these servers are there."""

    async def there() -> bool:
        return await places(world) == set(expected)

    await eventually(there, what=f"servers {expected}")


async def until_settled(world: EdgeWorld) -> None:
    """Wait until checks have found every server up, and the routes are on disk."""
    client = HaproxyClient(world.folder / "run" / "admin.sock", timeout_s=5)

    async def settled() -> bool:
        states = parse_servers_state(await client.query(ShowServersState()))
        up = {state.up for state in states if state.pool[:2] in ("lc", "px")}
        return up == {True} and ":split" in (world.folder / "state" / "models.map").read_text()

    await eventually(settled, what="servers that are up, and routes on disk")


async def until_logged(world: EdgeWorld, event: str, *, count: int) -> None:
    """Wait until router-config has logged an event this often."""

    async def logged() -> bool:
        return len(world.log_lines(event)) == count

    await eventually(logged, within_s=30.0, what=f"{event}, {count} times")


async def test_each_request_meets_the_front_end_that_can_answer_it(world: EdgeWorld) -> None:
    """And the replica's servers leave together."""
    pair = await world.front_ends("r1")
    await world.declare(a_model())
    await world.join_pair(pair)
    await world.until_answers(200, by=pair.rust)

    assert await server_by(world, PYTHON_ONLY) == "r1-python"
    assert (await world.until_servers(1)).degraded == ""

    await world.say(world.leases["r1"], ReplicaState.DRAINING)
    await until_places(world)


async def test_a_name_that_rust_does_not_know_is_answered_by_python(world: EdgeWorld) -> None:
    """An alias that is added later reaches the replica without a restart."""
    pair = await world.front_ends("r1")
    await world.declare(a_model())
    await world.join_pair(pair)
    await world.until_answers(200, by=pair.rust)

    await world.declare(replace(a_model(), aliases=("later",)))
    found = await world.until_answers(200, model="later")

    assert found.headers["x-sluice-replica"] == "r1-python"
    assert await server_by(world, {"model": "m"}) == "r1-rust"


async def test_a_model_of_python_replicas_gets_its_first_rust_front_end(world: EdgeWorld) -> None:
    """All replicas have their twins first; when the Rust front end leaves, the twins go."""
    plain, pair = await world.replica("r0"), await world.front_ends("r1")
    await world.declare(a_model())
    await world.join(plain)
    await world.until_answers(200, by=plain)

    await world.join_pair(pair)
    await until_places(
        world, *(f"lc0{twin}/{name}.0a1b2c3d" for twin in ("", "-py") for name in ("r0", "r1"))
    )
    assert {await server_by(world, PYTHON_ONLY) for _ in range(4)} == {"r0", "r1-python"}
    assert (await world.until_servers(2)).reloads == 0

    await world.say(world.leases["r1"], ReplicaState.STOPPED)
    await until_places(world, "lc0-py/r0.0a1b2c3d")
    assert await server_by(world, PYTHON_ONLY) == "r0"


async def test_a_retried_request_never_meets_a_rust_front_end_that_joined_meanwhile(
    world: EdgeWorld,
) -> None:
    """A Python server dies before its first byte; the first Rust front end has come since."""
    plain = await world.replica("r0", Script(first_token_s=60.0))
    pair = await world.front_ends("r1")
    await world.declare(a_model())
    await world.join(plain)
    await world.until_servers(1)
    asking = asyncio.create_task(world.http.post("/v1/chat/completions", json=PYTHON_ONLY))

    async def asked() -> bool:
        return plain.active == 1

    async def rust_is_there() -> bool:
        return "lc0/r1.0a1b2c3d" in await places(world)

    await eventually(asked, what="a request without a first byte")
    await world.join_pair(pair)
    await eventually(rust_is_there, what="the Rust front end in the main pool")
    await plain.kill()

    answer = await asking
    assert (answer.status_code, answer.json()["replica"]) == (200, "r1-python")
    assert not [seen for seen in pair.rust.seen if seen.path == "/v1/chat/completions"]


async def test_an_edge_that_starts_without_the_bus_knows_its_sockets(world: EdgeWorld) -> None:
    """HAProxy shows no paths; a HAProxy that starts from the files serves all the same."""
    pair = await world.front_ends("r1")
    await world.declare(a_model())
    await world.join_pair(pair)
    await world.until_answers(200, by=pair.rust)

    await until_settled(world)
    await world.nats.stop()
    await world.router_config.kill()
    await world.router_config.start()
    await until_logged(world, "haproxy_adopted", count=1)
    for number in range(2):
        os.kill(haproxy_pid(world.folder), signal.SIGKILL)
        await until_logged(world, "haproxy_started", count=2 + number)
        await world.until_answers(200, by=pair.rust)

    assert await server_by(world, PYTHON_ONLY) == "r1-python"
    text = (world.folder / "state" / "pools.cfg").read_text()
    assert f"unix@{pair.rust.path} " in text
    assert f"unix@{pair.python.path} " in text
