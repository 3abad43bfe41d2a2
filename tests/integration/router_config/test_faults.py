"""Parts are killed: what is left goes on, and what comes back finds its way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace

import httpx
import pytest

from libs.contracts.lease import ReplicaState
from libs.contracts.model_spec import RoutingPolicy, RoutingSpec
from libs.testing.edge_world import EdgeWorld, haproxy_pid
from libs.testing.eventually import eventually
from libs.testing.fake_replica import FakeReplica, Script
from libs.testing.real_haproxy import haproxy_in
from libs.testing.records import a_model


async def served_world(world: EdgeWorld, *names: str) -> list[FakeReplica]:
    """Give model `m` its replicas and wait until the edge has them."""
    replicas = [await world.replica(name) for name in names]
    await world.declare(replace(a_model(), aliases=("default",)))
    for replica in replicas:
        await world.join(replica)
    await world.until_servers(len(replicas))
    await world.until_answers(200)
    return replicas


async def test_a_killed_haproxy_is_back_with_all_its_servers(world: EdgeWorld) -> None:
    """It starts from the files, so it does not wait for anybody."""
    await served_world(world, "r1", "r2")
    before = haproxy_pid(world.folder)

    os.kill(before, signal.SIGKILL)
    killed_at = time.monotonic()
    await world.until_answers(200)

    assert time.monotonic() - killed_at < 5
    assert haproxy_pid(world.folder) != before
    status = await world.until_servers(2)
    assert (status.reloads, status.degraded) == (0, "")


async def _changed(world: EdgeWorld, pid: int) -> bool:
    return haproxy_pid(world.folder) != pid


async def test_a_killed_router_config_leaves_haproxy_serving_and_adopts_it_again(
    world: EdgeWorld,
) -> None:
    """What happened meanwhile is caught up with."""
    await served_world(world, "r1")
    pid = haproxy_pid(world.folder)

    await world.router_config.kill()
    answers = [await world.ask() for _ in range(5)]
    second = await world.replica("r2")
    await world.join(second)
    await world.router_config.start()
    await world.until_answers(200, by=second)

    assert [answer.status_code for answer in answers] == [200] * 5
    assert haproxy_pid(world.folder) == pid
    assert world.log_lines("haproxy_adopted")
    assert (await world.until_servers(2)).reloads == 0


async def test_a_politely_stopped_router_config_stops_its_haproxy(world: EdgeWorld) -> None:
    """Nothing is left running, and no port is left open."""
    pid = haproxy_pid(world.folder)

    assert await world.router_config.stop() == 0

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(httpx.ConnectError):
        await world.http.get("/health")


async def test_an_interrupted_router_config_stops_a_haproxy_that_sigterm_leaves(
    world: EdgeWorld,
) -> None:
    """SIGINT is its supervisor's; SIGTERM may be anybody's, and the next one adopts HAProxy."""
    await world.router_config.stop()
    await world.router_config.start(own_haproxy=False)
    await world.until_up()
    pid = haproxy_pid(world.folder)

    await world.router_config.stop()
    left = (await world.http.get("/health")).status_code
    await world.router_config.start()
    await world.until_servers(0)
    adopted = haproxy_pid(world.folder)
    code = await world.router_config.interrupt()

    assert (left, adopted, code) == (200, pid, 0)
    with pytest.raises(httpx.ConnectError):
        await world.http.get("/health")


async def test_haproxy_can_be_left_serving_on_purpose(world: EdgeWorld) -> None:
    """For an update of router-config alone."""
    await world.router_config.stop()
    await world.router_config.start(own_haproxy=False)
    await world.until_up()

    assert await world.router_config.stop() == 0

    assert (await world.http.get("/health")).status_code == 200


async def test_a_killed_and_emptied_bus_takes_nothing_away(world: EdgeWorld) -> None:
    """Healthy replicas serve on under every name, and the edge says that it is on its own."""
    await served_world(world, "r1", "r2")

    await world.nats.kill()
    await asyncio.sleep(1)
    away = [(await world.ask()).status_code for _ in range(3)]
    world.nats.wipe()
    await world.nats.start()
    await asyncio.sleep(3)
    empty = [(await world.ask(model)).status_code for model in ("m", "default")]

    assert (away, empty) == ([200] * 3, [200, 200])
    assert (await world.until_servers(2)).degraded.startswith("models: ")


async def test_a_dead_replica_leaves_when_its_lease_is_gone_too(world: EdgeWorld) -> None:
    """Until then HAProxy's own checks keep requests away from it."""
    one, two = await served_world(world, "r1", "r2")

    await two.kill()
    answers = [await world.ask() for _ in range(20)]
    await world.forget(two)
    await world.until_servers(1)

    async def gone() -> bool:
        return any(line["retired"] for line in world.log_lines("routing_applied"))

    await eventually(gone, what="a retirement")
    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.headers["x-sluice-replica"] for answer in answers} == {one.name}


async def test_haproxy_alone_serves_from_the_files(world: EdgeWorld) -> None:
    """Neither NATS nor router-config is needed to start it by hand."""
    await served_world(world, "r1", "r2")
    await world.router_config.stop()
    await world.nats.kill()

    async with haproxy_in(world.folder / "state"):
        await world.until_up()
        answers = [await world.ask(model) for model in ("m", "default") for _ in range(2)]
        listed = (await world.http.get("/v1/models")).json()
        unknown = await world.ask("nobody")

    assert [answer.status_code for answer in answers] == [200] * 4
    assert {answer.headers["x-sluice-replica"] for answer in answers} == {"r1", "r2"}
    assert [card["id"] for card in listed["data"]] == ["m", "default"]
    assert unknown.status_code == 404


async def test_without_a_bus_the_edge_starts_with_what_it_knew(world: EdgeWorld) -> None:
    """And connects when the bus is back."""
    await served_world(world, "r1")
    await world.router_config.stop()
    await world.nats.kill()

    await world.router_config.start()
    answer = await world.until_answers(200)
    await asyncio.sleep(2)
    still = await world.ask("default")
    await world.nats.start()

    assert (answer.status_code, still.status_code) == (200, 200)
    assert (await world.until_servers(1)).degraded == ""


async def test_an_edit_by_hand_is_put_right(world: EdgeWorld) -> None:
    """HAProxy is read back, and every difference is one to remove."""
    (replica,) = await served_world(world, "r1")

    for line in (
        "clear map models.map",
        f"set server lc0-py/{replica.name}.0a1b2c3d state maint",
        "add map models.map foreign lc1:foreign",
    ):
        _, writer = await asyncio.open_unix_connection(str(world.folder / "run" / "admin.sock"))
        writer.write(f"{line}\n".encode())
        await writer.drain()
        writer.close()

    await world.until_answers(200)
    await world.until_answers(404, model="foreign")


async def test_a_changed_policy_moves_a_model_without_a_failed_request(
    world: EdgeWorld,
) -> None:
    """Its servers are in the new pool before the route leads there."""
    (replica,) = await served_world(world, "r1")
    prefix = replace(a_model(), routing=RoutingSpec(policy=RoutingPolicy.PREFIX))
    replica.script = Script(first_token_s=0.01)

    async def moved() -> bool:
        statuses.append((await world.ask()).status_code)
        pools = (world.folder / "state" / "models.map").read_text()
        return "px0:m" in pools

    statuses: list[int] = []
    await world.declare(prefix)
    await eventually(moved, what="the new pool")

    assert set(statuses) == {200}


async def test_more_models_than_pools_are_worth_a_reload(idle_world: EdgeWorld) -> None:
    """The only one in a life of joins and leaves; running streams survive it."""
    world = idle_world
    await world.router_config.start(pools_per_kind=2)
    await world.until_up()
    replica = await world.replica("r1", Script(tokens=30, token_s=0.1))
    await world.join(replica, model="z")
    await world.until_servers(1)

    async with world.http.stream(
        "POST", "/v1/chat/completions", json={"model": "z", "stream": True}
    ) as stream:
        await world.declare(*(a_model(f"m{index}") for index in range(3)))
        await world.until_answers(503, model="m2")
        lines = [line async for line in stream.aiter_lines() if line]

    async def told() -> bool:
        status = await world.status()
        return status is not None and status.reloads == 1 and status.unplaced == ()

    await eventually(told, what="one reload in the status")
    assert lines[-1] == "data: [DONE]"
    (line,) = (line for line in world.log_lines("routing_applied") if line["reload"])
    assert line["reload"] == ["pools_exhausted"]


async def test_changed_settings_reload_an_adopted_haproxy(world: EdgeWorld) -> None:
    """Rules and limits cannot change at runtime."""
    await served_world(world, "r1")
    pid = haproxy_pid(world.folder)
    await world.router_config.kill()

    await world.router_config.start(queue_timeout_s=3)
    await eventually(lambda: _changed(world, pid), within_s=20, what="another HAProxy")

    assert "timeout queue 3s" in (world.folder / "state" / "base.cfg").read_text()
    await world.until_answers(200)
    (line,) = (line for line in world.log_lines("routing_applied") if line["reload"])
    assert line["reload"] == ["config_changed"]


async def test_a_taken_port_is_one_clear_line(idle_world: EdgeWorld) -> None:
    """Exit code 2, and nothing is left running."""
    port = int(idle_world.router_config.settings["api_port"])
    other = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", port)

    await idle_world.router_config.start()
    code = await idle_world.router_config.ended()

    other.close()
    said = (idle_world.folder / "router-config.log").read_text().splitlines()
    assert code == 2
    assert f"127.0.0.1:{port}" in said[-1]
    assert not (idle_world.folder / "run" / "haproxy.pid").exists()


async def test_too_old_a_haproxy_is_one_clear_line(idle_world: EdgeWorld) -> None:
    """Exit code 2."""
    old = idle_world.folder / "haproxy"
    old.write_text("#!/bin/sh\necho 'HAProxy version 2.6.12-1 2026/01/01'\n")
    old.chmod(0o755)

    await idle_world.router_config.start(haproxy_binary=old)
    code = await idle_world.router_config.ended()

    said = (idle_world.folder / "router-config.log").read_text().splitlines()
    assert code == 2
    assert "2.8 or newer is needed" in said[-1]


async def test_wrong_settings_are_all_named(idle_world: EdgeWorld) -> None:
    """In one line, so that nobody mends them one by one."""
    await idle_world.router_config.start(api_port="none", trace_ratio=2)
    code = await idle_world.router_config.ended()

    said = (idle_world.folder / "router-config.log").read_text().splitlines()
    assert code == 2
    assert "api_port" in said[-1]
    assert "trace_ratio" in said[-1]


async def test_a_draining_replica_that_never_ends_is_cut_at_the_deadline(
    idle_world: EdgeWorld,
) -> None:
    """A server cannot stay for ever."""
    world = idle_world
    await world.router_config.start(drain_timeout_s=1)
    await world.until_up()
    await world.declare(a_model("other"))
    replica = await world.replica("r1", Script(tokens=1000, token_s=0.1))
    await world.join(replica)
    await world.until_servers(1)

    async def stream_to_the_end() -> None:
        await world.http.post("/v1/completions", json={"model": "m", "stream": True})

    streaming = asyncio.create_task(stream_to_the_end())
    await asyncio.sleep(0.5)
    await world.say(world.leases["r1"], ReplicaState.DRAINING)

    with pytest.raises(httpx.RemoteProtocolError):
        await streaming
    await world.until_answers(404)
