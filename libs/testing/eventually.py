"""Waiting in a test for what must become true soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

_POLL_S = 0.02


async def eventually(
    ask: Callable[[], Awaitable[Found]], *, within_s: float = 30.0, what: str = "it"
) -> Found:
    """Ask again and again until the answer is true, and return it; fail at the time limit."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = await ask()
        if found:
            return found
        assert time.monotonic() < deadline_s, f"{what} did not come true within {within_s} s"
        await asyncio.sleep(_POLL_S)
