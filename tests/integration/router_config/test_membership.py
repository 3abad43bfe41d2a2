"""Who is a member: leases that expire, addresses that are used again, replicas that lie."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from libs.contracts.lease import ReplicaLease
from libs.contracts.subjects import REPLICAS_BUCKET, lease_key
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.free_port import free_port
from libs.testing.records import a_model

LEASE_S = 1.0
MODELS = 64


def server(replica: FakeReplica) -> str:
    """Return the name of a replica's server, as `world.join` makes it."""
    return f"{replica.name}.0a1b2c3d"


async def until_servers_are(world: EdgeWorld, *replicas: FakeReplica) -> None:
    """Wait until HAProxy has the servers of these replicas and no others."""
    wanted = {server(replica) for replica in replicas}

    async def are() -> bool:
        return (await world.servers()).keys() == wanted

    await eventually(are, what=f"servers {sorted(wanted)}")


async def let_expire(world: EdgeWorld, replica: FakeReplica) -> ReplicaLease:
    """Write a replica's lease once more, for a second, and wait until the bus has dropped it."""
    lease = world.leases[replica.name]
    key = lease_key(lease.model, lease.replica_id)
    await world.bus.put(REPLICAS_BUCKET, key, lease, ttl_s=LEASE_S)

    async def expired() -> bool:
        return await world.bus.get(REPLICAS_BUCKET, key) is None

    await eventually(expired, what="the end of the lease")
    return lease


async def answers(world: EdgeWorld, count: int) -> tuple[Counter[int], Counter[str]]:
    """Ask so often; count statuses, and who answered."""
    found = [await world.ask() for _ in range(count)]
    names = (answer.headers.get("x-sluice-replica", "nobody") for answer in found)
    return Counter(answer.status_code for answer in found), Counter(names)


async def test_an_expired_lease_takes_away_a_dead_replica_and_no_living_one(
    world: EdgeWorld,
) -> None:
    """Silence is no word: what HAProxy's checks find alive stays."""
    one, two = await world.replica("r1"), await world.replica("r2")
    await world.declare(a_model())
    await world.join(one)
    await world.join(two)
    await world.until_servers(2)

    await let_expire(world, two)
    await asyncio.sleep(2)
    with_silent = await world.servers()
    await two.kill()

    await until_servers_are(world, one)
    assert with_silent.keys() == {server(one), server(two)}
    assert (await answers(world, 10))[0] == {200: 10}


async def test_a_replica_at_a_dead_ones_address_takes_its_place(world: EdgeWorld) -> None:
    """Ports are given out again; the lease of the dead one may still stand."""
    first = await world.replica("r1")
    await world.declare(a_model())
    await world.join(first)
    await world.until_answers(200, by=first)
    port = first.endpoint.port

    await first.kill()
    second = FakeReplica(name="r2")
    await second.start(port=port)
    try:
        await world.join(second)
        await world.until_answers(200, by=second)
        await until_servers_are(world, second)
        await world.forget(first)
        await asyncio.sleep(1.5)
        statuses, names = await answers(world, 10)
    finally:
        await second.kill()

    assert (statuses, names) == ({200: 10}, {"r2": 10})


async def test_a_replica_that_says_ready_where_nobody_listens_costs_no_request(
    world: EdgeWorld,
) -> None:
    """The refused connection is tried again at an honest replica, and the checks find it out."""
    honest, liar = await world.replica("r1"), FakeReplica(name="r2")
    await world.declare(a_model())
    await world.join(honest)
    await world.until_answers(200)

    await liar.start(port=free_port())
    await world.join(liar)
    await liar.kill()
    found = await answers(world, 40)
    await world.until_servers(1)

    assert found == ({200: 40}, {"r1": 40})


async def test_a_replica_whose_health_fails_gets_nothing_soon(world: EdgeWorld) -> None:
    """`ready` in a lease is a claim; HAProxy asks /health itself."""
    honest, liar = await world.replica("r1"), await world.replica("r2")
    liar.healthy = False
    await world.declare(a_model())
    await world.join(honest)
    await world.join(liar)
    await world.until_answers(200)
    status = await world.until_servers(1)
    before = len(liar.seen)

    statuses, names = await answers(world, 20)

    assert (statuses, names) == ({200: 20}, {"r1": 20})
    assert len(liar.seen) == before
    assert status.degraded == ""


async def test_a_replica_that_is_well_again_gets_requests_again(world: EdgeWorld) -> None:
    """Its lease never changed; the checks alone decide."""
    replica = await world.replica("r1")
    await world.declare(a_model())
    await world.join(replica)
    await world.until_servers(1)

    replica.healthy = False
    await world.until_answers(503)
    replica.healthy = True
    answer = await world.until_answers(200)

    assert answer.headers["x-sluice-replica"] == "r1"


async def test_a_replica_that_is_healthy_but_slams_every_request_costs_none(
    world: EdgeWorld,
) -> None:
    """A request whose connection ends without a byte is tried again at another replica."""
    honest = await world.replica("r1")
    liar = await world.replica("r2", Script(slams=True))
    await world.declare(a_model())
    await world.join(honest)
    await world.join(liar)
    await world.until_servers(2)

    found = await answers(world, 40)

    assert found == ({200: 40}, {"r1": 40})
    assert liar.seen


async def test_a_slamming_replica_alone_is_an_error_and_no_endless_try(world: EdgeWorld) -> None:
    """Three attempts are all."""
    liar = await world.replica("r1", Script(slams=True))
    await world.declare(a_model())
    await world.join(liar)
    await world.until_servers(1)

    answer = await world.ask()

    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "bad_gateway"
    assert len(liar.seen) == 3


async def test_64_models_have_a_pool_each(world: EdgeWorld) -> None:
    """Every model is answered by its own replica; nothing is reloaded for them."""
    replicas = [await world.replica(f"r{index}") for index in range(MODELS)]
    await world.declare(
        *(replace(a_model(f"m{index}"), aliases=(f"a{index}",)) for index in range(MODELS))
    )
    for index, replica in enumerate(replicas):
        await world.join(replica, model=f"m{index}")
    status = await world.until_servers(MODELS)

    by_name = [await world.ask(f"m{index}") for index in range(MODELS)]
    by_alias = [await world.ask(f"a{index}") for index in range(MODELS)]

    expected = [replica.name for replica in replicas]
    assert [answer.headers.get("x-sluice-replica") for answer in by_name] == expected
    assert [answer.headers.get("x-sluice-replica") for answer in by_alias] == expected
    assert (status.reloads, status.unplaced, status.degraded) == (0, (), "")
