"""What router-config relies on is lost: its state directory, or all that NATS had stored."""

from __future__ import annotations

import os
import shutil
import signal

from libs.bus.background import running
from libs.bus.nats_link import NatsLink
from libs.bus.permissions import ADMIN
from libs.bus.provision import provision
from libs.contracts.subjects import MODELS_BUCKET, REPLICAS_BUCKET, bucket_stream
from libs.testing.edge_world import EdgeWorld, haproxy_pid
from libs.testing.eventually import eventually
from libs.testing.records import a_model

KEPT = "models: the bus has none, the edge goes on with those it knew"


async def served_world(world: EdgeWorld) -> None:
    """Let model `m` have two replicas and model `idle` none."""
    await world.declare(a_model(), a_model("idle"))
    for name in ("r1", "r2"):
        await world.join(await world.replica(name))
    await world.until_servers(2)
    await world.until_answers(200)
    await world.until_answers(503, model="idle")


async def until_degraded(world: EdgeWorld, text: str) -> None:
    """Wait until the edge's status says exactly this."""

    async def says() -> bool:
        status = await world.status()
        return status is not None and status.degraded == text

    await eventually(says, what=f"a status that says {text!r}")


async def statuses(world: EdgeWorld) -> tuple[int, int, int]:
    """Ask for a served, an idle and an unknown model."""
    found = [await world.ask(model) for model in ("m", "idle", "nobody")]
    return found[0].status_code, found[1].status_code, found[2].status_code


def restart_haproxy_by_force(world: EdgeWorld) -> int:
    """Kill HAProxy, so that router-config starts it from its files; return the pid it had."""
    before = haproxy_pid(world.folder)
    os.kill(before, signal.SIGKILL)
    return before


async def test_a_lost_state_directory_is_written_again(world: EdgeWorld) -> None:
    """Within a second, so that a HAProxy that dies afterwards starts with everything."""
    await served_world(world)
    state = world.folder / "state"
    before = {path.name: path.read_bytes() for path in state.iterdir() if path.suffix != ".log"}

    shutil.rmtree(state)

    async def whole() -> bool:
        return all((state / name).exists() for name in before)

    await eventually(whole, what="all the files")
    assert {name: (state / name).read_bytes() for name in before} == before
    killed = restart_haproxy_by_force(world)
    await world.until_answers(200)
    assert haproxy_pid(world.folder) != killed
    assert await statuses(world) == (200, 503, 404)


async def test_a_state_directory_lost_together_with_haproxy_is_no_end(world: EdgeWorld) -> None:
    """What is in memory is enough to start from."""
    await served_world(world)

    shutil.rmtree(world.folder / "state")
    restart_haproxy_by_force(world)

    await world.until_answers(200)
    await world.until_servers(2)
    assert await statuses(world) == (200, 503, 404)


async def test_a_state_directory_lost_before_the_start_is_read_back_from_haproxy(
    world: EdgeWorld,
) -> None:
    """The HAProxy that runs is adopted as it is, and written down."""
    await served_world(world)
    pid = haproxy_pid(world.folder)
    await world.router_config.kill()

    shutil.rmtree(world.folder / "state")
    meanwhile = await statuses(world)
    await world.router_config.start()
    status = await world.until_servers(2)
    after = await statuses(world)
    restart_haproxy_by_force(world)
    await world.until_answers(200)

    assert meanwhile == after == (200, 503, 404)
    assert (status.haproxy_pid, status.degraded) == (pid, "")
    assert await statuses(world) == (200, 503, 404)


async def test_an_emptied_bus_leaves_the_last_known_state_and_the_status_says_so(
    world: EdgeWorld,
) -> None:
    """A model without replicas stays known too; what is declared again counts."""
    await served_world(world)

    await world.nats.restart(wipe=True)
    await until_degraded(world, KEPT)
    kept = await statuses(world)
    servers = await world.servers()
    await world.declare(a_model())
    await until_degraded(world, "")
    await world.until_answers(404, model="idle")

    assert kept == (200, 503, 404)
    assert len(servers) == 2
    assert (await world.ask()).status_code == 200


async def test_an_edge_that_starts_beside_an_emptied_bus_serves_what_it_has_on_disk(
    world: EdgeWorld,
) -> None:
    """Nobody who is left knows the models, but the files do."""
    await served_world(world)
    await world.router_config.stop()
    await world.nats.restart(wipe=True)

    await world.router_config.start()
    await world.until_answers(200)
    await until_degraded(world, KEPT)

    assert await statuses(world) == (200, 503, 404)


async def test_deleted_buckets_are_a_bus_that_is_away(world: EdgeWorld) -> None:
    """NATS runs and answers nothing that is needed; made again, the buckets are followed again."""
    await served_world(world)

    link = NatsLink(world.nats.settings(ADMIN))
    async with running(link.run()):
        session = await link.session(timeout_s=5)
        for bucket in (MODELS_BUCKET, REPLICAS_BUCKET):
            await session.jetstream.delete_stream(bucket_stream(bucket))
    await until_degraded(world, "bus: away")
    away = await statuses(world)
    await provision(world.nats.settings(ADMIN))
    await until_degraded(world, KEPT)
    kept = await statuses(world)
    await world.declare(a_model(), a_model("idle"))
    for lease in list(world.leases.values()):
        await world.say(lease)
    await until_degraded(world, "")
    await world.until_answers(503, model="idle")

    assert away == kept == (200, 503, 404)
    assert await statuses(world) == (200, 503, 404)
