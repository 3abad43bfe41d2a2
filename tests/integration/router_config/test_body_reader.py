"""The body reader as its supervisor runs it, beside a router-config and its HAProxy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually

ROOT = Path(__file__).resolve().parents[3]


@asynccontextmanager
async def body_reader(world: EdgeWorld) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run it with router-config's own settings."""
    settings = world.router_config.settings.items()
    named = {f"SLUICE_ROUTER_CONFIG_{name.upper()}": value for name, value in settings}
    with (world.folder / "body-reader.log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.router_config", "reader"),
            cwd=ROOT,
            env={**os.environ, **named},
            stdout=log,
            stderr=log,
        )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_large_bodies_are_served_while_it_runs_and_whatever_router_config_does(
    world: EdgeWorld,
) -> None:
    """It needs its settings and nothing else, and ends when it is told to."""
    await world.join(await world.replica("r1"))
    await world.until_answers(200)
    body = json.dumps({"prompt": "x" * 1_000_000, "model": "m"}).encode()

    async def status() -> int:
        """A refused body that is still being sent may end with the connection instead."""
        try:
            return (await world.http.post("/v1/completions", content=body)).status_code
        except httpx.TransportError:
            return 503

    async def is_served() -> bool:
        return await status() == 200

    without = await status()
    async with body_reader(world) as running:
        await eventually(is_served, within_s=30)
        await world.router_config.kill()
        orphaned = await status()
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await running.wait()

    assert (without, orphaned) == (503, 200)
