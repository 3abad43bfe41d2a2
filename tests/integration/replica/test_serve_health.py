"""What Serve learns of a replica whose service ends with an error of its own."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import AsyncExitStack
from typing import cast

import pytest

from libs.contracts.lease import ReplicaState
from services.replica.domain.lifecycle import LifecycleEvent
from services.replica.domain.statements import Standing
from services.replica.service import ReplicaService

with warnings.catch_warnings():
    # Ray declares its fields in a way that pydantic no longer likes.
    warnings.simplefilter("ignore", DeprecationWarning)
    from services.replica.serve_app import Replica, ReplicaFailedError


class BrokenService:
    """A service that ends with an error, before or after it was ready."""

    def __init__(self, standing: Standing) -> None:
        """Take how it stands when that happens."""
        self.standing = standing
        self.breaks = asyncio.Event()

    def answer_to(self, aliases: tuple[str, ...]) -> None:
        """Serve under these names."""

    def want_adapters(self, adapters: tuple[object, ...]) -> None:
        """Have these adapters."""

    async def until_settled(self) -> Standing:
        """Return how it stands."""
        return self.standing

    async def run(self) -> None:
        """End with an error."""
        await self.breaks.wait()
        raise RuntimeError("a fault")


class BareReplica(Replica):
    """A replica without Serve around it, which awaits neither of these two methods."""

    def __init__(self, service: BrokenService, stack: AsyncExitStack) -> None:
        """Take the parts."""
        self._stack = stack
        self._service = cast("ReplicaService", service)
        self._life = None

    def __del__(self) -> None:  # type: ignore[override]
        """Leave the end to the test."""


async def test_a_start_that_breaks_fails_and_gives_everything_back() -> None:
    """Serve then starts another one."""
    closed: list[bool] = []
    stack = AsyncExitStack()
    stack.callback(closed.append, True)  # noqa: FBT003 - the callback's own
    service = BrokenService(Standing())
    service.breaks.set()

    with pytest.raises(RuntimeError, match="a fault"):
        await BareReplica(service, stack).reconfigure({})

    assert closed == [True]


async def test_a_replica_whose_service_broke_is_not_healthy() -> None:
    """It would stay without an engine for ever."""
    ready = Standing().with_event(LifecycleEvent.BECAME_READY)
    service = BrokenService(ready)
    replica = BareReplica(service, AsyncExitStack())
    await replica.reconfigure({})
    await replica.check_health()

    service.breaks.set()
    await asyncio.sleep(0.01)

    assert ready.state is ReplicaState.READY
    with pytest.raises(ReplicaFailedError, match="service ended"):
        await replica.check_health()
