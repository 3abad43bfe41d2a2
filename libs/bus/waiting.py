"""Waiting for several things that change, at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol


class Changing(Protocol):
    """Whatever can be waited for as a `BucketView` can."""

    async def changed(self, *, timeout_s: float) -> bool:
        """Wait until something changed since the last call; False at the time limit."""
        ...


async def any_changed(views: Sequence[Changing], *, timeout_s: float) -> bool:
    """Wait until one of them changed since its last call; False at the time limit."""
    waiting = [
        asyncio.ensure_future(  # tidy: allow orphan-task - ended below, all of them
            view.changed(timeout_s=timeout_s)
        )
        for view in views
    ]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return any(task.result() for task in done)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
