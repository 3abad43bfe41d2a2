"""A HAProxy that is slow, stopped or cut off serves on; one that cannot start replaces none."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from libs.haproxy.binary import find_haproxy
from libs.testing.edge_world import EdgeWorld, haproxy_pid
from libs.testing.eventually import eventually
from libs.testing.fake_replica import Script
from libs.testing.records import a_model

TOKENS = 40


@pytest.fixture
async def streaming(idle_world: EdgeWorld) -> EdgeWorld:
    """Offer an edge that soon sees a HAProxy as silent, and a replica whose answers take 4 s."""
    world = idle_world
    await world.router_config.start(command_timeout_s=0.2, own_haproxy=False)
    await world.until_up()
    await world.declare(a_model())
    await world.join(await world.replica("r1", Script(tokens=TOKENS, token_s=0.1)))
    await world.until_servers(1)
    return world


async def whole_stream(world: EdgeWorld) -> bool:
    """Send a request and tell whether its stream came whole."""
    body = {"model": "m", "stream": True}
    answer = await world.http.post("/v1/chat/completions", json=body)
    return answer.text.count("data: {") == TOKENS and answer.text.endswith("data: [DONE]\n\n")


async def until_degraded(world: EdgeWorld, start: str) -> str:
    """Wait until the edge's status begins like this; an empty text is a status without trouble."""

    async def says() -> str | None:
        status = await world.status()
        found = status.degraded if status is not None else "none"
        return found or "fine" if found.startswith(start) and bool(found) == bool(start) else None

    return await eventually(says, what=f"a status that says {start!r}") or ""


async def test_a_haproxy_that_is_stopped_while_router_config_starts_is_adopted(
    streaming: EdgeWorld,
) -> None:
    """It may be starved of a CPU; its streams are whole, and so are those that begin later."""
    world = streaming
    pid = haproxy_pid(world.folder)
    stream = asyncio.create_task(whole_stream(world))
    await asyncio.sleep(0.3)
    await world.router_config.kill()

    os.kill(pid, signal.SIGSTOP)
    await world.router_config.start()
    await until_degraded(world, "edge: A peer process could not be reached")
    os.kill(pid, signal.SIGCONT)
    await until_degraded(world, "")

    assert haproxy_pid(world.folder) == pid
    assert await stream
    assert await whole_stream(world)


async def test_a_stopped_haproxy_without_notes_is_waited_for(streaming: EdgeWorld) -> None:
    """Nothing tells which process it is, so nothing may be done to it."""
    world = streaming
    pid = haproxy_pid(world.folder)
    await world.router_config.kill()
    (world.folder / "run" / "haproxy.json").unlink()

    os.kill(pid, signal.SIGSTOP)
    await world.router_config.start()
    await until_degraded(world, "edge: A HAProxy has the admin socket and does not answer")
    os.kill(pid, signal.SIGCONT)
    await until_degraded(world, "")

    assert haproxy_pid(world.folder) == pid


async def test_a_haproxy_that_leaves_many_looks_unanswered_is_better_unmanaged_than_dead(
    streaming: EdgeWorld,
) -> None:
    """The status says so, for as long as it lasts."""
    world = streaming
    pid = haproxy_pid(world.folder)
    stream = asyncio.create_task(whole_stream(world))
    await asyncio.sleep(0.3)

    os.kill(pid, signal.SIGSTOP)
    await until_degraded(world, "edge: ")
    await asyncio.sleep(7)
    still = await until_degraded(world, "edge: ")
    os.kill(pid, signal.SIGCONT)
    await until_degraded(world, "")

    assert "haproxy" in still
    assert haproxy_pid(world.folder) == pid
    assert await stream


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_haproxy_that_lost_its_run_directory_is_replaced_without_a_cut_stream(
    streaming: EdgeWorld, *, is_restarted: bool
) -> None:
    """Nobody can reach it any more, so another one listens beside it, and it finishes."""
    world = streaming
    pid = haproxy_pid(world.folder)
    stream = asyncio.create_task(whole_stream(world))
    await asyncio.sleep(0.3)

    if is_restarted:
        await world.router_config.kill()
    shutil.rmtree(world.folder / "run")
    if is_restarted:
        await world.router_config.start()

    async def replaced() -> bool:
        assert (await world.http.get("/health")).status_code == 200
        written = world.folder / "run" / "haproxy.pid"
        has_spans = (world.folder / "run" / "span.sock").exists()
        return has_spans and written.exists() and haproxy_pid(world.folder) != pid

    await eventually(replaced, what="another HAProxy")
    await until_degraded(world, "")
    assert await stream
    assert await whole_stream(world)


def breakable_haproxy(folder: Path) -> tuple[Path, Path]:
    """Return a HAProxy that does not start while a file exists, and that file."""
    program, breaker = folder / "haproxy", folder / "broken"
    real = find_haproxy(None).path
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -v ] || [ ! -e {breaker} ] || exit 1\nexec {real} "$@"\n'
    )
    program.chmod(0o700)
    return program, breaker


async def test_a_reload_that_fails_leaves_haproxy_managed_and_is_tried_again(
    idle_world: EdgeWorld,
) -> None:
    """Joins go on meanwhile, an end is noticed, and the models that wait are served at last."""
    world = idle_world
    program, breaker = breakable_haproxy(world.folder)
    await world.router_config.start(pools_per_kind=2, haproxy_binary=program)
    await world.until_servers(0)
    pid = haproxy_pid(world.folder)

    breaker.touch()
    await world.declare(*(a_model(f"m{index}") for index in range(3)))
    said = await until_degraded(world, "reload: HAProxy did not come up")
    await world.join(await world.replica("r1"), model="m0")
    await world.until_answers(200, model="m0")
    before = haproxy_pid(world.folder)
    breaker.unlink()
    await world.until_answers(503, model="m2")

    async def placed() -> bool:
        status = await world.status()
        return status is not None and (status.reloads, status.unplaced) == (1, ())

    await eventually(placed, what="one reload, and a place for every model")
    await until_degraded(world, "")
    assert "code=1" in said
    assert before == pid != haproxy_pid(world.folder)


async def test_a_haproxy_that_dies_after_a_failed_reload_is_started_again(
    idle_world: EdgeWorld,
) -> None:
    """It is watched as before."""
    world = idle_world
    program, breaker = breakable_haproxy(world.folder)
    await world.router_config.start(haproxy_binary=program, own_haproxy=False)
    await world.until_servers(0)
    pid = haproxy_pid(world.folder)
    await world.router_config.stop()

    breaker.touch()
    await world.router_config.start(queue_timeout_s=3)
    await until_degraded(world, "reload: ")
    breaker.unlink()
    os.kill(pid, signal.SIGKILL)
    await until_degraded(world, "")
    await world.until_up()

    assert haproxy_pid(world.folder) != pid


async def test_a_change_is_not_forgotten_when_the_first_start_after_it_dies(
    idle_world: EdgeWorld,
) -> None:
    """The files have it already, so only the running HAProxy tells that it does not."""
    world = idle_world
    program, breaker = breakable_haproxy(world.folder)
    await world.router_config.start(haproxy_binary=program, own_haproxy=False)
    await world.until_servers(0)
    pid = haproxy_pid(world.folder)
    await world.router_config.kill()
    breaker.touch()
    await world.router_config.start(queue_timeout_s=3)
    await until_degraded(world, "reload: ")
    await world.router_config.kill()

    breaker.unlink()
    await world.router_config.start()
    await until_degraded(world, "")

    assert haproxy_pid(world.folder) != pid
    (line,) = (line for line in world.log_lines("routing_applied") if line["reload"])
    assert line["reload"] == ["config_changed"]
