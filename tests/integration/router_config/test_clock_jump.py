"""A person or NTP sets the clock: nothing that is measured in seconds notices."""

from __future__ import annotations

import asyncio
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider

from libs.clock import SystemClock
from libs.contracts.lease import ReplicaState
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.fake_replica import Script
from libs.testing.records import a_model
from services.router_config.settings import RouterConfigSettings
from services.router_config.wiring import Stop, wire

TOKENS = 30


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
async def test_a_set_clock_cuts_no_draining_stream_and_takes_no_server(
    idle_world: EdgeWorld, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """The drain's limit is ten minutes, and a silent server's grace fifteen seconds."""
    world = idle_world
    jumped = 0.0
    monkeypatch.setattr(SystemClock, "now", lambda _: time.time() + jumped)
    settings = RouterConfigSettings.model_validate(world.router_config.settings)
    stop = Stop()
    async with wire(settings, TracerProvider()) as app, asyncio.TaskGroup() as tasks:
        tasks.create_task(app.run(stop))
        await world.until_up()
        await world.declare(a_model())
        await world.join(await world.replica("r1", Script(tokens=TOKENS, token_s=0.1)))
        await world.until_servers(1)
        body = {"model": "m", "stream": True}
        stream = asyncio.create_task(world.http.post("/v1/chat/completions", json=body))
        await asyncio.sleep(0.3)
        await world.join(await world.replica("r2"))
        await world.until_servers(2)
        await world.say(world.leases["r1"], ReplicaState.DRAINING)

        async def draining() -> bool:
            return (await world.servers()).get("r1.0a1b2c3d") == "drain"

        await eventually(draining, what="a draining server")
        jumped = jump_s
        text = (await stream).text
        status = await world.until_servers(1)
        stop.ask()

    assert text.count("data: {") == TOKENS
    assert text.endswith("data: [DONE]\n\n")
    assert status.degraded == ""
