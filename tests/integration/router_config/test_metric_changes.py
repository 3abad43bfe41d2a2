"""How router-config's metrics move when something happens to its edge."""

from __future__ import annotations

import asyncio
import socket

import pytest

from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.exporters import start_measured, until_value, value


@pytest.fixture
async def measured(idle_world: EdgeWorld) -> EdgeWorld:
    """Offer an edge with both exporters and one replica of model `m`."""
    await start_measured(idle_world)
    return idle_world


async def by_hand(world: EdgeWorld, line: str) -> None:
    """Do what a person might on the admin socket."""
    _, writer = await asyncio.open_unix_connection(str(world.folder / "run" / "admin.sock"))
    writer.write(f"{line}\n".encode())
    await writer.drain()
    writer.close()


async def test_joins_are_no_drift_and_an_edit_by_hand_is(measured: EdgeWorld) -> None:
    """Each difference is counted once, and put right."""
    await measured.join(await measured.replica("r2"))
    await measured.until_servers(2)
    quiet = await value(measured, "drift_found_total", what="server")

    await by_hand(measured, "set server lc0-py/r2.0a1b2c3d state maint")
    await by_hand(measured, "clear map models.map")

    await until_value(measured, 1, "drift_found_total", what="server")
    await until_value(measured, 1, "drift_found_total", what="routes")
    await measured.until_servers(2)
    await asyncio.sleep(1.5)
    counted = [
        await value(measured, "drift_found_total", what=what)
        for what in ("server", "routes", "tenants")
    ]
    assert (quiet, counted) == (0, [1, 1, 0])
    assert measured.log_lines("drift_found")


async def test_a_bus_that_is_away_shows(measured: EdgeWorld) -> None:
    """With the seconds since it was last whole."""
    await measured.nats.kill()

    await until_value(measured, 0, "bus_connected")
    await until_value(measured, 1, "degraded", reason="bus")
    away_s = await value(measured, "bus_away_seconds") or 0.0

    async def longer() -> bool:
        return (await value(measured, "bus_away_seconds") or 0.0) > away_s

    await eventually(longer, what="a growing absence")


async def test_a_reload_is_counted_by_its_reason_and_a_taken_port_is_one_clear_line(
    measured: EdgeWorld,
) -> None:
    """Nothing else counts as a reload; the port ends the start with exit code 2."""
    await measured.router_config.kill()
    await measured.router_config.start(queue_timeout_s=3)
    await until_value(measured, 1, "reloads_total", reason="config_changed")
    exhausted = await value(measured, "reloads_total", reason="pools_exhausted")

    await measured.router_config.stop()
    taken = measured.router_config.settings["metrics_port"]
    with socket.create_server(("127.0.0.1", int(taken))):
        await measured.router_config.start()
        code = await measured.router_config.ended()

    said = (measured.folder / "router-config.log").read_text().splitlines()
    assert (exhausted, code) == (0, 2)
    assert f"127.0.0.1:{taken}" in said[-1]
