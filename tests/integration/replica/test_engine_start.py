"""An engine's start beside the loop: real processes and threads, no vLLM.

Invariants: a start that is cancelled leaves nothing running, and the cancellation goes on.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, cast

import pytest

from libs.testing.eventually import eventually
from services.replica.adapters.vllm.engine_core import Started
from services.replica.adapters.vllm.engine_start import start_beside

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


class FakeEngine:
    """An engine that notes its end."""

    def __init__(self) -> None:
        """Run."""
        self.is_shut_down = False

    def shutdown(self, _timeout_s: float) -> None:
        """End."""
        self.is_shut_down = True

    def started(self) -> Started:
        """Return it as vLLM's, without a Rust program."""
        return Started(llm=cast("AsyncLLM", self), executor="fake")


async def test_a_start_gives_the_engine() -> None:
    """The usual case."""
    engine = FakeEngine()

    started = await start_beside(engine.started)

    assert started.executor == "fake"
    assert not engine.is_shut_down


async def test_a_start_that_fails_says_why() -> None:
    """The replica's lease tells it."""

    def start() -> Started:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        await start_beside(start)


async def test_the_processes_of_a_cancelled_start_are_killed() -> None:
    """The thread that waits for them then ends as well."""
    made: list[BaseProcess] = []

    def start() -> Started:
        child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
        child.start()
        made.append(child)
        child.join()
        raise RuntimeError("the engine core ended")

    async def has_child() -> bool:
        return bool(made)

    starting = asyncio.create_task(start_beside(start))
    await eventually(has_child)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(starting, 20)

    assert not made[0].is_alive()


async def test_an_engine_whose_start_succeeds_after_the_cancellation_is_shut_down() -> None:
    """It could not be stopped in time."""
    engine = FakeEngine()

    def start() -> Started:
        time.sleep(0.3)
        return engine.started()

    starting = asyncio.create_task(start_beside(start))
    await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert engine.is_shut_down
