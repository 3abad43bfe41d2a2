"""A model whose record cannot be read: its last valid record stays in use."""

from __future__ import annotations

import asyncio

from libs.contracts.subjects import MODELS_BUCKET, REPLICAS_BUCKET
from libs.testing.clock import FakeClock
from libs.testing.eventually import eventually
from libs.testing.in_memory_bus import InMemoryBus
from libs.testing.records import a_model
from services.router_config.domain.homes import PRIVATE_NETWORKS, Homes, networks
from services.router_config.views import BusViews


async def test_an_unreadable_record_does_not_undeclare_its_model() -> None:
    """Neither beside other models nor as the only one; a removed record does."""
    clock = FakeClock()
    bus = InMemoryBus(clock)
    views = BusViews(bus, lambda: None, Homes(networks=networks(PRIVATE_NETWORKS)))
    followers = [
        asyncio.create_task(views.follow(bucket)) for bucket in (MODELS_BUCKET, REPLICAS_BUCKET)
    ]

    async def declared() -> set[str]:
        return {spec.name for spec in views.known(clock.now()).models or ()}

    await bus.put(MODELS_BUCKET, "m", a_model("m"))
    await bus.put(MODELS_BUCKET, "n", a_model("n"))
    await eventually(declared, what="the models")
    bus.put_raw(MODELS_BUCKET, "m", b"not a record")
    beside = await declared()
    await bus.delete(MODELS_BUCKET, "n")
    alone = await declared()
    await bus.delete(MODELS_BUCKET, "m")
    removed = await declared()
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)

    assert beside == {"m", "n"}
    assert alone == {"m"}
    assert removed == set()
