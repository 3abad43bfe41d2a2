"""Replicas report their load over the bus, and the real HAProxy's weights follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from libs.contracts.model_spec import RoutingPolicy, RoutingSpec
from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import ShowServersState
from libs.haproxy.tables import parse_servers_state
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.records import a_load_report, a_model

REPORT_S = 0.1


@asynccontextmanager
async def reporting(world: EdgeWorld, kv_cache_usage: dict[str, float]) -> AsyncIterator[None]:
    """Let replicas of model `m` report while the body runs; the table may be changed meanwhile."""

    async def report_for_ever() -> None:
        while True:
            for name, ratio in kv_cache_usage.items():
                waiting = 3 if ratio > 0.9 else 0
                said = replace(a_load_report(name), waiting=waiting, kv_cache_usage_ratio=ratio)
                await world.bus.report(said)
            await asyncio.sleep(REPORT_S)

    task = asyncio.create_task(report_for_ever())
    try:
        yield
    finally:
        task.cancel()


async def weights(world: EdgeWorld) -> dict[str, int]:
    """Read the weights by replica from HAProxy itself."""
    client = HaproxyClient(world.folder / "run" / "admin.sock", timeout_s=5)
    states = parse_servers_state(await client.query(ShowServersState()))
    ours = [state for state in states if state.pool.startswith(("lc", "px"))]
    return {state.name.partition(".")[0]: state.weight for state in ours}


async def until_weights(world: EdgeWorld, wanted: dict[str, int]) -> None:
    """Wait until HAProxy has these weights."""

    async def reached() -> bool:
        return await weights(world) == wanted

    await eventually(reached, within_s=15, what=f"weights {wanted}")


def pools_file(world: EdgeWorld) -> tuple[str, int]:
    """Return the saved pools and when they were written."""
    path = Path(world.router_config.settings["state_dir"]) / "pools.cfg"
    return path.read_text(), path.stat().st_mtime_ns


async def test_weights_follow_reports_and_stay_when_replicas_fall_silent(
    world: EdgeWorld,
) -> None:
    """No reconcile counts, no file is written; silence is not idleness; calm brings them back."""
    await world.declare(a_model())
    for name in ("r1", "r2"):
        await world.join(await world.replica(name))
    status = await world.until_servers(2)
    saved = pools_file(world)
    usage = {"r1": 0.8, "r2": 0.2}
    async with reporting(world, usage):
        await until_weights(world, {"r1": 8, "r2": 26})

        usage.clear()
        await asyncio.sleep(6)
        assert await weights(world) == {"r1": 8, "r2": 26}

        usage.update({"r1": 0.3, "r2": 0.3})
        await until_weights(world, {"r1": 16, "r2": 16})

    after = await world.status()
    assert after is not None
    assert after.revision == status.revision
    assert pools_file(world) == saved


async def test_a_prefix_pool_moves_keys_only_for_a_replica_without_memory(
    world: EdgeWorld,
) -> None:
    """Differences in load leave the ring as it is."""
    await world.declare(replace(a_model(), routing=RoutingSpec(policy=RoutingPolicy.PREFIX)))
    for name in ("r1", "r2"):
        await world.join(await world.replica(name))
    await world.until_servers(2)
    usage = {"r1": 0.85, "r2": 0.1}
    async with reporting(world, usage):
        await asyncio.sleep(3)
        assert await weights(world) == {"r1": 16, "r2": 16}

        usage["r1"] = 0.97
        await until_weights(world, {"r1": 8, "r2": 16})

        usage["r1"] = 0.5
        await until_weights(world, {"r1": 16, "r2": 16})
