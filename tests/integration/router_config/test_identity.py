"""Who answers at a server's address: the replica of that very start, or somebody else."""

from __future__ import annotations

import pytest

from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import ShowServersState
from libs.haproxy.tables import parse_servers_state
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica
from libs.testing.records import a_model

OWN = "r1.0a1b2c3d"


async def until_up(world: EdgeWorld, pool: str, *, up: bool) -> None:
    """Wait until HAProxy's checks say so of the server in a pool."""
    client = HaproxyClient(world.folder / "run" / "admin.sock", timeout_s=5)

    async def says() -> bool:
        states = parse_servers_state(await client.query(ShowServersState()))
        return [state.up for state in states if state.pool == pool] == [up]

    await eventually(says, what=f"a server that is {'up' if up else 'down'}")


async def until_refused(world: EdgeWorld, text: str) -> None:
    """Wait until router-config has said why a replica does not join."""

    async def told() -> bool:
        return any(text in str(line["refused"]) for line in world.log_lines("routing_incomplete"))

    await eventually(told, what=f"a refusal that says {text!r}")


@pytest.mark.parametrize("identity", ["r1.ffffffff", "r2.0a1b2c3d", "somebody"])
async def test_a_stranger_at_a_lease_s_address_never_gets_a_request(
    world: EdgeWorld, identity: str
) -> None:
    """Another start of the replica is a stranger, too; the replica itself joins when it is back."""
    await world.declare(a_model())
    stranger = await world.replica("r1")
    stranger.identity = identity

    await world.join(stranger)
    await until_refused(world, f"{OWN} should be at")
    answers = {(await world.ask()).status_code for _ in range(20)}
    seen = len(stranger.seen)
    stranger.identity = OWN
    await world.until_answers(200)

    assert (answers, seen) == ({503}, 0)


async def test_an_address_where_nobody_answers_holds_up_no_other_replica(
    world: EdgeWorld,
) -> None:
    """It gets no server, and is asked again."""
    await world.declare(a_model())
    dead, other = await world.replica("r1"), await world.replica("r2")
    await world.join(dead)
    await world.until_servers(1)
    lease = world.leases["r1"]
    await dead.kill()
    await world.forget(dead)
    await world.until_servers(0)

    await world.say(lease)
    await until_refused(world, f"{OWN} does not answer at")
    await world.join(other)
    await world.until_answers(200, by=other)

    assert list(await world.servers()) == ["r2.0a1b2c3d"]


async def test_a_stranger_at_a_dead_replica_s_port_is_found_down(world: EdgeWorld) -> None:
    """Its answers are as good as a replica's, but for the name."""
    await world.declare(a_model())
    replica = await world.replica("r1")
    port = replica.endpoint.port
    await world.join(replica)
    await world.until_answers(200)

    await replica.kill()
    stranger = FakeReplica(name="r1", identity="r1.ffffffff")
    await stranger.start(port=port)
    try:
        await until_up(world, "lc0-py", up=False)
        answers = {(await world.ask()).status_code for _ in range(20)}
    finally:
        await stranger.kill()

    assert answers == {503}


async def test_a_python_application_answers_for_a_rust_program_as_well(world: EdgeWorld) -> None:
    """The program does not know its name, so HAProxy asks the application of the same replica."""
    await world.declare(a_model())
    pair = await world.front_ends("r1")
    await world.join_pair(pair)
    await world.until_servers(1)
    await world.until_answers(200)

    pair.rust.healthy = False
    await until_up(world, "lc0", up=False)
    await until_up(world, "lc0-py", up=True)
    pair.rust.healthy = True
    await until_up(world, "lc0", up=True)
    pair.python.identity = "r1.ffffffff"
    await until_up(world, "lc0", up=False)
    text = (world.folder / "state" / "pools.cfg").read_text()

    assert f"check addr {pair.python.address} inter 1s" in text
    assert text.count("check addr") == 1
