"""No file can grow: the edge is managed all the same, and catches up when there is room."""

from __future__ import annotations

from libs.testing.edge_world import EdgeWorld, haproxy_pid
from libs.testing.eventually import eventually
from libs.testing.records import a_model


async def until_degraded(world: EdgeWorld, *, by_files: bool) -> str:
    """Wait until the edge's status names files that cannot be written, or none."""

    async def says() -> str | None:
        status = await world.status()
        found = status.degraded if status is not None else "none"
        return found or "fine" if found.startswith("files: ") is by_files else None

    return await eventually(says, what="a status") or ""


async def test_a_router_config_that_starts_on_a_full_disk_adopts_and_serves(
    world: EdgeWorld,
) -> None:
    """Its files stay as they were; what changed is written, and reloaded, once there is room."""
    await world.declare(a_model())
    await world.join(await world.replica("r1"))
    await world.until_servers(1)
    pid, base = haproxy_pid(world.folder), world.folder / "state" / "base.cfg"
    before = base.read_bytes()
    await world.router_config.kill()

    world.router_config.disk_is_full = True
    await world.router_config.start(queue_timeout_s=3)
    said = await until_degraded(world, by_files=True)
    second = await world.replica("r2")
    await world.join(second)
    await world.until_answers(200, by=second)
    held = (haproxy_pid(world.folder), base.read_bytes())
    joined = (await world.until_servers(2)).degraded
    world.router_config.free_disk()

    async def reloaded() -> bool:
        return haproxy_pid(world.folder) != pid

    await eventually(reloaded, what="a reload to the new configuration")
    assert await until_degraded(world, by_files=False) == "fine"
    assert "base.cfg" in said
    assert "File too large" in said
    assert "pools.cfg" in joined
    assert held == (pid, before)
    assert b"timeout queue 3s" in base.read_bytes()
    assert "r2." in (world.folder / "state" / "pools.cfg").read_text()


async def test_a_haproxy_that_dies_on_a_full_disk_starts_from_the_files_that_are_there(
    world: EdgeWorld,
) -> None:
    """Old files serve better than none."""
    await world.declare(a_model())
    await world.join(await world.replica("r1"))
    await world.until_servers(1)
    await world.router_config.kill()
    world.router_config.disk_is_full = True
    await world.router_config.start()
    await world.until_servers(1)
    pid = haproxy_pid(world.folder)

    world.kill_haproxy()
    await world.until_answers(200)

    async def says() -> bool:
        status = await world.status()
        return status is not None and status.haproxy_pid not in (None, pid)

    await eventually(says, what="another HAProxy")
