"""Leases that nats-server brings back from its store after an unclean end.

Found with nats-server 2.15.1: a key with a TTL of 5 s, 75 s of other writes,
SIGTERM, a start, 9 s of writes, SIGKILL, a start. The key is back, and no scan ends it, because the
stored list of what expires is newer than the block of messages. The test makes just that state of
two copies of the store.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from libs.bus.leadership import Leadership
from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import ADMIN
from libs.bus.provision import forget_leases
from libs.clock import SystemClock
from libs.contracts.leader import LeaderClaim
from libs.testing.eventually import eventually
from libs.testing.nats_server import NatsServer, nats_server
from libs.testing.records import a_lease, a_model
from tools.cli.observe import read_buckets

BUCKETS = ("replicas", "leaders")
CLAIM = LeaderClaim(service="autoscaler", holder="dead", claimed_at=0.0)


async def test_no_reader_counts_a_lease_that_rose_again(tmp_path: Path) -> None:
    """Neither a view nor a single look, and its leadership is taken over."""
    async with nats_server(tmp_path) as server:
        await bring_back_the_dead(server, tmp_path)
        async with connect(server.settings(ADMIN)) as bus, bus.view("replicas") as view:
            risen = await bus.get("replicas", "m.dead")
            looked = await read_buckets(bus, BUCKETS)
            leadership = Leadership(bus, SystemClock(), service="autoscaler", holder="living")
            async with asyncio.timeout(15):
                await until_it_leads(leadership)
            await bus.put("replicas", "m.r2", a_lease("r2"), ttl_s=5)
            while "m.r2" not in view.snapshot().entries:
                await view.changed(timeout_s=1)
            still = await bus.get("replicas", "m.dead")

            assert risen is not None
            assert still is not None
            assert looked == []
            assert set(view.snapshot().entries) == {"m.r2"}


async def test_leases_of_before_can_be_forgotten(tmp_path: Path) -> None:
    """`up` begins like that: it owns the machine, and nothing of the stack before lives."""
    async with nats_server(tmp_path) as server:
        await write_leases(server)
        async with connect(server.settings(ADMIN)) as bus:
            await bus.put("models", "m", a_model())

            await forget_leases(server.settings(ADMIN))

            assert await read_buckets(bus, BUCKETS) == []
            assert await bus.get("models", "m") is not None


async def test_a_single_look_waits_for_leases_that_are_written_in_this_moment(
    tmp_path: Path,
) -> None:
    """A NATS that was away for longer than a TTL has none, and every replica lives."""
    async with nats_server(tmp_path) as server, connect(server.settings(ADMIN)) as bus:
        looking = asyncio.create_task(read_buckets(bus, BUCKETS))
        await asyncio.sleep(0.5)
        await bus.put("replicas", "m.r1", a_lease("r1"), ttl_s=5)

        assert await looking == [a_lease("r1")]


async def until_it_leads(leadership: Leadership) -> None:
    """Refresh as a standby does."""
    while not leadership.leads:
        await leadership.refresh()
        await asyncio.sleep(1.0)


async def write_leases(server: NatsServer) -> None:
    """Write a replica's lease and a leader's claim, whose holders then die."""
    async with connect(server.settings(ADMIN)) as bus:
        await bus.put("replicas", "m.dead", a_lease("dead"), ttl_s=1)
        await bus.put("leaders", "autoscaler", CLAIM, ttl_s=1)


async def bring_back_the_dead(server: NatsServer, folder: Path) -> None:
    """Let leases expire, and start the server with the blocks that still have them."""
    await write_leases(server)
    copies = {blocks: folder / f"copy-{number}" for number, blocks in enumerate(stores(folder))}
    for blocks, copy in copies.items():
        shutil.copytree(blocks, copy)
    async with connect(server.settings(ADMIN)) as bus:
        await eventually(lambda: is_gone(bus, "replicas", "m.dead"), within_s=10)
        await eventually(lambda: is_gone(bus, "leaders", "autoscaler"), within_s=10)
    await server.stop()
    for blocks, copy in copies.items():
        (blocks / "index.db").unlink()
        for block in copy.glob("*.blk"):
            shutil.copy(block, blocks)
    await server.start(provisioned=False)


async def is_gone(bus: NatsBus, bucket: str, key: str) -> bool:
    """Tell whether the server has no such value."""
    return await bus.get(bucket, key) is None


def stores(folder: Path) -> list[Path]:
    """Return where the server keeps the messages of each stream."""
    return sorted(folder.glob("jetstream/jetstream/*/streams/KV_*/msgs"))
