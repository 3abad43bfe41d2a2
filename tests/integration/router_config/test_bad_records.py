"""Records that a model's process could write in order to harm others: a real edge goes on."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import nats
import pytest

from libs.bus.codec import encode
from libs.bus.permissions import REPLICA
from libs.contracts.lease import Endpoint, UnixEndpoint
from libs.contracts.subjects import MODELS_BUCKET, REPLICAS_BUCKET, lease_key
from libs.testing.bus_worlds import NatsWorld
from libs.testing.edge_world import EdgeWorld, haproxy_pid
from libs.testing.eventually import eventually
from libs.testing.records import a_lease, a_load_report, a_model

ODD = ("r 1", "r1#x", "m\nbackend x", "r1;show", "$HOME", "", "r" * 300)


async def write_odd_records(world: EdgeWorld) -> None:
    """Write leases with odd text in every place, leases for others, and a model of nobody."""
    bus = NatsWorld(world.nats, world.bus)
    tree = json.loads(encode(a_lease("odd")))
    number = 0
    for text in ODD:
        for field in ("model", "replica_id", "incarnation", "adapters", "rust_names"):
            number += 1
            value = [text] if field.endswith("s") else text
            body = json.dumps(tree | {field: value}).encode()
            await bus.put_raw(REPLICAS_BUCKET, f"m.odd{number}", body)
    stolen = replace(a_lease("r1"), address=Endpoint(host="127.0.0.1", port=1))
    await bus.put_raw(REPLICAS_BUCKET, "m.stolen", encode(stolen))
    await bus.put_raw(MODELS_BUCKET, "odd", json.dumps({"schema": "model.spec.v1"}).encode())


async def write_odd_loads(world: EdgeWorld) -> None:
    """Report loads that would divide by 0, or that are another replica's."""
    way_in = world.nats.credentials(REPLICA)
    client = await nats.connect(way_in.url, user=way_in.user, password=way_in.password)
    tree = json.loads(encode(a_load_report("r1")))
    for running in (-1, 10**30, 1e308):
        await client.publish("load.m.r1", json.dumps(tree | {"running": running}).encode())
    await client.publish("load.m.r2", encode(a_load_report("r1")))
    await client.flush()
    await client.close()


async def test_odd_records_harm_nobody_else(world: EdgeWorld) -> None:
    """Requests go on, the loop goes on, and HAProxy still starts from its files."""
    replica = await world.replica("r1")
    await world.declare(a_model())
    await world.join(replica)
    await world.until_answers(200)

    await write_odd_records(world)
    await write_odd_loads(world)
    other = await world.replica("r2")
    await world.join(other)
    await world.until_servers(2)
    pid = haproxy_pid(world.folder)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: another_pid(world, pid), what="another HAProxy")
    await world.until_answers(200)

    assert set(await world.servers()) == {"r1.0a1b2c3d", "r2.0a1b2c3d"}
    assert not world.log_lines("router_config_failed")
    named = {line["key"] for line in world.log_lines("record_rejected")}
    assert {"m.stolen", "odd"} <= named
    assert len(named) == len(ODD) * 5 + 2


@pytest.mark.parametrize(
    "address",
    [
        Endpoint(host="8.8.8.8", port=80),
        Endpoint(host="169.254.169.254", port=80),
        UnixEndpoint(path="/tmp/elsewhere.sock"),
    ],
)
async def test_a_replica_that_lives_elsewhere_is_named_and_gets_nothing(
    world: EdgeWorld, address: Endpoint | UnixEndpoint
) -> None:
    """Not a request, and not a scrape: whoever wrote the lease chose the address."""
    replica = await world.replica("r1")
    await world.declare(a_model())
    await world.join(replica)
    far = replace(a_lease("far"), address=address)
    await world.bus.put(REPLICAS_BUCKET, lease_key(far.model, far.replica_id), far)

    async def named() -> bool:
        status = await world.status()
        return status is not None and f"leases: m.far: {address} is " in status.degraded

    await eventually(named, what="the replica's name in the status")
    await world.until_answers(200)

    assert set(await world.servers()) == {"r1.0a1b2c3d"}


async def another_pid(world: EdgeWorld, pid: int) -> bool:
    """Tell whether HAProxy was started again."""
    return haproxy_pid(world.folder) != pid
