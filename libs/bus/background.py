"""A task that lives exactly as long as a `with` body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Final, Never

_CANCEL_AGAIN_S: Final = 0.2


@asynccontextmanager
async def running(work: Coroutine[None, None, Never]) -> AsyncIterator[None]:
    """Run endless work beside the body and end it with the body.

    Work that dies of a bug ends the body with its error. A TaskGroup would do the same, but wrap
    every error of the body into a group, which callers of a context manager do not expect.
    """
    task = asyncio.create_task(work)  # tidy: allow orphan-task - ended below, with the body
    owner = asyncio.current_task()

    def end_body(done: asyncio.Task[Never]) -> None:
        if owner is not None and _failure(done) is not None:
            owner.cancel()

    task.add_done_callback(end_body)
    try:
        yield
    except asyncio.CancelledError:
        failure = _failure(task)
        if failure is None or owner is None:
            raise
        owner.uncancel()
        raise failure from None
    finally:
        task.remove_done_callback(end_body)
        await _end(task)


async def _end(task: asyncio.Task[Never]) -> None:
    # The client library swallows a cancellation now and then (`asyncio.wait_for` of Python 3.11
    # does when the answer comes at the same moment), so one is not always enough.
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)


def _failure(task: asyncio.Task[Never]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
