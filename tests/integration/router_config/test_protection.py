"""What is reachable, by whom, and what must be there before anybody else can reach it."""

from __future__ import annotations

import asyncio
import stat

import httpx
import pytest

from libs.contracts.ids import tenant_name
from libs.contracts.subjects import TENANTS_BUCKET
from libs.contracts.tenant import Tenant, key_hash
from libs.testing.certificates import make_certificate, trusting_anything
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.free_port import free_port
from libs.testing.records import a_model

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the point of these tests; the port is open for seconds
KEY = "sk-test"
WITH_KEY = {"authorization": f"Bearer {KEY}"}


async def let_in(world: EdgeWorld, *, revoked: bool = False) -> None:
    """Declare a tenant, or revoke it."""
    hashes = () if revoked else (key_hash(KEY),)
    tenant = Tenant(name=tenant_name("acme"), key_hashes=hashes)
    await world.bus.put(TENANTS_BUCKET, tenant.name, tenant)


async def serve(world: EdgeWorld) -> None:
    """Let one replica join model `m`."""
    replica = await world.replica("r1")
    await world.declare(a_model())
    await world.join(replica)
    await world.until_servers(1)


async def status_with(world: EdgeWorld, headers: dict[str, str]) -> int:
    """Return the status of one request."""
    answer = await world.http.post("/v1/chat/completions", json={"model": "m"}, headers=headers)
    return answer.status_code


async def until_status(world: EdgeWorld, status: int, headers: dict[str, str]) -> None:
    """Wait until a request with these headers gets this status."""

    async def seen() -> bool:
        return await status_with(world, headers) == status

    await eventually(seen, what=f"a {status}")


async def test_beyond_loopback_with_neither_tenant_nor_tls_is_refused(
    idle_world: EdgeWorld,
) -> None:
    """Exit code 2, one line that says what to do, and nothing listens."""
    await idle_world.router_config.start(api_host=EVERYWHERE)
    code = await idle_world.router_config.ended()

    said = (idle_world.folder / "router-config.log").read_text().splitlines()
    assert code == 2
    assert "without a tenant or TLS" in said[-1]
    assert "tenant add" in said[-1]
    assert not (idle_world.folder / "run" / "haproxy.pid").exists()


async def test_a_tenant_is_enough_and_revoking_the_last_one_does_not_open_it(
    idle_world: EdgeWorld,
) -> None:
    """The warning is in the log."""
    world = idle_world
    await let_in(world)
    await world.router_config.start(api_host=EVERYWHERE)
    await world.until_up()
    await serve(world)
    await until_status(world, 200, WITH_KEY)

    without = await status_with(world, {})
    await let_in(world, revoked=True)
    await until_status(world, 401, WITH_KEY)
    await asyncio.sleep(1.5)
    after = [await status_with(world, headers) for headers in ({}, WITH_KEY)]

    assert (without, after) == (401, [401, 401])
    assert world.log_lines("api_unencrypted")


async def test_tenants_that_the_bus_has_lost_still_let_the_edge_start(
    idle_world: EdgeWorld,
) -> None:
    """Known from its own state, they are served as before."""
    world = idle_world
    await let_in(world)
    await world.router_config.start(api_host=EVERYWHERE)
    await world.until_up()
    await serve(world)
    await until_status(world, 200, WITH_KEY)
    await world.router_config.stop()
    await world.bus.delete(TENANTS_BUCKET, "acme")

    await world.router_config.start(api_host=EVERYWHERE)
    await world.until_up()

    await until_status(world, 200, WITH_KEY)
    assert await status_with(world, {}) == 401


async def test_tls_without_a_tenant_starts_and_lets_nobody_in(idle_world: EdgeWorld) -> None:
    """The first tenant is let in without a restart."""
    world = idle_world
    file = world.folder / "person.pem"
    file.write_text(make_certificate("one"))
    port = world.router_config.settings["api_port"]
    async with httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{port}", verify=trusting_anything(), timeout=30
    ) as world.http:
        await world.router_config.start(api_host=EVERYWHERE, tls_certificate_file=file)
        await world.until_up()
        await serve(world)

        before = await status_with(world, {})
        await let_in(world)
        await until_status(world, 200, WITH_KEY)
        without = await status_with(world, {})

    assert (before, without) == (401, 401)
    assert not world.log_lines("api_unencrypted")


async def test_an_open_edge_that_moves_beyond_loopback_is_closed(idle_world: EdgeWorld) -> None:
    """What the state directory says of `open` counts on loopback alone, and counts there again.

    Without TLS the private key has no business in it.
    """
    world = idle_world
    copy = world.folder / "state" / "certificate.pem"
    file = world.folder / "person.pem"
    file.write_text(make_certificate("one"))
    await world.router_config.start()
    await world.until_up()
    await serve(world)
    await until_status(world, 200, {})
    on_loopback = world.http

    await world.router_config.stop()
    port = world.router_config.settings["api_port"]
    async with httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{port}", verify=trusting_anything(), timeout=30
    ) as world.http:
        await world.router_config.start(api_host=EVERYWHERE, tls_certificate_file=file)
        await world.until_up()
        beyond = await status_with(world, {})
        key_is_there = copy.exists()
        await world.router_config.stop()
    del world.router_config.settings["tls_certificate_file"]
    world.http = on_loopback
    await world.router_config.start(api_host="127.0.0.1")
    await world.until_up()

    assert (beyond, key_is_there, copy.exists()) == (401, True, False)
    await until_status(world, 200, {})


async def test_only_the_owner_can_speak_to_the_admin_socket(world: EdgeWorld) -> None:
    """Whoever can write to it owns the proxy; the folder around it is closed as well."""
    socket = world.folder / "run" / "admin.sock"

    assert stat.S_ISSOCK(socket.stat().st_mode)
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("setting", ["stats_port", "metrics_port"])
async def test_metrics_listen_on_loopback_alone(idle_world: EdgeWorld, setting: str) -> None:
    """127.0.0.2 is this machine too, and would answer if every address did."""
    port = free_port()
    await let_in(idle_world)
    await idle_world.router_config.start(api_host=EVERYWHERE, **{setting: port})
    await idle_world.until_up()

    async with httpx.AsyncClient() as client:
        found = await client.get(f"http://127.0.0.1:{port}/metrics")
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.2:{port}/metrics")

    assert found.status_code == 200
