"""Starts an engine beside the event loop, and stops the start when the replica must end first.

A thread cannot be cancelled. A start that is abandoned would go on, with an engine core that no
code ends and sockets in a folder that is gone. It waits for its processes, so it fails at once
when they are killed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from services.replica.adapters.vllm.engine_core import Started

SHUTDOWN_TIMEOUT_S: Final = 5.0

_POLL_S: Final = 0.2


async def start_beside(start: Callable[[], Started]) -> Started:
    """Run `start` in a thread; when this is cancelled, nothing of the engine is left running.

    This process must have no other children of `multiprocessing`.
    """
    starting = asyncio.create_task(  # tidy: allow orphan-task - awaited or stopped below
        asyncio.to_thread(start)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _stop(starting)
        raise


async def shut_down(started: Started) -> None:
    """End the front ends' program and the engine core; what they still do is cut."""
    if started.rust is not None:
        await started.rust.cut()
    await asyncio.to_thread(started.llm.shutdown, SHUTDOWN_TIMEOUT_S)


async def _stop(starting: asyncio.Task[Started]) -> None:
    while not starting.done():
        for child in multiprocessing.active_children():
            child.kill()
        await asyncio.wait([starting], timeout=_POLL_S)
    with suppress(Exception):  # it failed, as it should: its processes were killed
        await shut_down(starting.result())
